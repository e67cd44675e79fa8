// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirPlatform
internal import WeirWire

/// The state process: takes what stands in its connections, does it in one transaction, answers when that is on the disk.
///
/// **Group commit** is what this loop does by itself: while the disk is busy with one transaction the next requests gather in
/// the sockets, and all of them share the next sync. One thread, no locks; a slow disk makes senders wait, for nothing more
/// is read meanwhile.
///
///     poll ─▶ accept, read ─▶ decode ─▶ one transaction ─▶ sync ─▶ write answers ─▶ poll
/// ## Invariants
/// 1. An answer that says something was done leaves after the sync of its transaction.
/// 2. Memory is bounded: `batchMax` requests a round, `outgoingMax` unread bytes a connection (then it is not read),
///    `connectionsMax` connections, and the desks' waiters.
package final class StateServer {
  package struct Settings: Sendable {
    package var connectionsMax = 256
    /// Requests of one transaction: a disk that needs 10 ms for a sync then takes 400 000 a second.
    package var batchMax = 4096
    /// Bytes of requests of one transaction.
    package var batchBytesMax = 32 << 20
    /// Answers that a connection has not read.
    package var outgoingMax = 16 << 20
    /// How often records are looked through for those whose time is over, and how many go at a time.
    package var forgetEvery = Duration.seconds(1)
    package var forgetMax = 500
    package var queues = QueueDesk.Settings()
    package var logs = LogDesk.Settings()
    package init() {}
  }

  private final class Connection {
    let descriptor: Descriptor
    let number: Int
    var reader = StateFrameReader()
    var outgoing: [UInt8] = []
    var sent = 0
    var isGreeted = false
    var isBroken = false
    /// Bytes that were ever put into `outgoing`, and those that have left it.
    var given = 0
    var left = 0
    /// Leases whose answer has not left whole: where it ends.
    var leases: [(end: Int, sequence: Int64, attempt: UInt16)] = []

    init(_ descriptor: Descriptor, _ number: Int) {
      self.descriptor = descriptor
      self.number = number
    }

    var unread: Int { outgoing.count - sent }
  }

  private enum Outcome {
    case record(IdempotencyDesk.Outcome)
    /// Nil: it waits.
    case queue(StateReply?)
  }

  private typealias Ask = (asker: StateAsker, request: StateRequest, giveUpAt: Instant?)

  private let listener: Descriptor
  private let store: any StateStore
  private let settings: Settings
  private let backups: StateBackups?
  private let complain: (String) -> Void
  private var connections: [Connection] = []
  private var connectionNumber = 0
  private var desk = IdempotencyDesk()
  private var queues: QueueDesk
  private var logs: LogDesk
  /// Leases that were to be answered on a connection that broke before: they are given back.
  private var unheard: [(sequence: Int64, attempt: UInt16)] = []
  private var forgetAt = Instant.zero
  /// Why the store failed last; said once until it works again.
  private var trouble: StateStoreError?
  /// Which queue was to have two logs last; said once.
  private var conflict: String?

  /// `complain` gets sentences for the log.
  package init(
    listener: Descriptor, store: any StateStore, _ settings: Settings = Settings(), backups: StateBackups? = nil,
    complain: @escaping (String) -> Void
  ) throws {
    self.listener = listener
    self.store = store
    self.settings = settings
    self.backups = backups
    queues = QueueDesk(settings.queues, seed: .random(in: 0 ... .max))
    logs = LogDesk(settings.logs)
    self.complain = complain
    try listener.setNonblocking()
  }

  /// Serves until `stop` can be read, then finishes what it has read; throws when the store cannot be relied on any more.
  package func serve(until stop: Int32) throws {
    while true {
      var interests = [Poll.Interest(stop), Poll.Interest(listener.number)]
      for connection in connections {
        interests.append(
          Poll.Interest(
            connection.descriptor.number, read: connection.unread < settings.outgoingMax, write: connection.unread > 0))
      }
      let looked = connections
      try Poll.wait(&interests, nanoseconds: wait(now: SystemClock.now()))
      if interests[1].readable { accept() }
      for (connection, ready) in zip(looked, interests.dropFirst(2)) {
        if ready.writable { flush(connection) }
        if ready.readable { read(connection) }
      }
      try work()
      for connection in connections where connection.isBroken {
        desk.drop(connection: connection.number)
        queues.drop(connection: connection.number)
        logs.drop(connection: connection.number)
        unheard += connection.leases.map { ($0.sequence, $0.attempt) }
      }
      connections.removeAll(where: \.isBroken)
      try housekeep(now: SystemClock.now())
      if interests[0].readable { return }
    }
  }

  /// Waiters are looked at 20 times a second.
  private func wait(now: Instant) -> Int64 {
    // A frame that a full batch has left behind is worked on at once.
    if hasFrames { return 0 }
    let rest = desk.waiters > 0 ? 50_000_000 : max(1_000_000, forgetAt.since(now))
    return min(rest, due(now: now), unheard.isEmpty || trouble != nil ? .max : queues.rest(now))
  }

  /// Nanoseconds until a desk has something to do by itself.
  private func due(now: Instant) -> Int64 {
    min(queues.wait(now: now, wall: SystemClock.wall()), logs.wait(queues: queues, now: now))
  }

  private var hasFrames = false
  /// The connection with which a batch begins.
  private var turn = 0

  // MARK: Connections

  private func accept() {
    while connections.count < settings.connectionsMax {
      guard let made = try? Connecting.accept(from: listener), (try? made.setNonblocking()) != nil else { return }
      connectionNumber += 1
      connections.append(Connection(made, connectionNumber))
    }
  }

  /// Up to 4 MiB a turn: a sender without end must not keep the others waiting.
  private func read(_ connection: Connection) {
    for _ in 0..<16 {
      do {
        let bytes = try connection.descriptor.read(upTo: 256 << 10)
        if bytes.isEmpty {
          connection.isBroken = true
          return
        }
        connection.reader.feed(bytes.span)
        if bytes.count < 256 << 10 { return }
        if connection.reader.count > StateFrames.bytesMax { return }
      } catch {
        if !error.wouldBlock { connection.isBroken = true }
        return
      }
    }
  }

  private func send(_ reply: StateReply, to asker: StateAsker) {
    guard let connection = connections.first(where: { $0.number == asker.connection }) else {
      if case .leased(let messages) = reply { unheard += messages.map { ($0.sequence, $0.attempt) } }
      return
    }
    let before = connection.outgoing.count
    StateFrames.append(reply, id: asker.id, to: &connection.outgoing)
    connection.given += connection.outgoing.count - before
    if case .leased(let messages) = reply {
      for message in messages { connection.leases.append((connection.given, message.sequence, message.attempt)) }
    }
  }

  private func flush(_ connection: Connection) {
    while connection.unread > 0 {
      do {
        let end = min(connection.outgoing.count, connection.sent + 1 << 20)
        let count = try connection.descriptor.write(connection.outgoing[connection.sent..<end])
        connection.sent += count
        connection.left += count
      } catch {
        if !error.wouldBlock { connection.isBroken = true }
        break
      }
    }
    connection.leases.removeAll { $0.end <= connection.left }
    if connection.unread == 0 {
      connection.outgoing.removeAll(keepingCapacity: connection.outgoing.count < 1 << 16)
      connection.sent = 0
    }
  }

  // MARK: Work

  /// Everything that can be worked on now: whole frames, and waiters for whom there is news.
  private func work() throws {
    var asks = take()
    let now = SystemClock.now()
    for key in desk.due(now: now, wall: SystemClock.wall()) { asks += again(key) }
    for (asker, reply) in queues.giveUp(now: now) + logs.giveUp(now: now) { send(reply, to: asker) }
    if !asks.isEmpty || !unheard.isEmpty || due(now: now) == 0 {
      repeat { asks = try transact(asks).flatMap(again) } while !asks.isEmpty
    }
    for connection in connections where connection.unread > 0 { flush(connection) }
  }

  private func again(_ key: StateDigest) -> [Ask] {
    desk.take(key).map { ($0.asker, .claim($0.claim), $0.giveUpAt) }
  }

  /// Decodes what the connections hold, in turn, up to a batch.
  private func take() -> [Ask] {
    var asks: [Ask] = []
    var bytes = 0
    hasFrames = false
    // Who sends without end must not keep the others waiting: each batch begins with another.
    turn = connections.isEmpty ? 0 : (turn + 1) % connections.count
    for connection in connections[turn...] + connections[..<turn] where !connection.isBroken {
      do {
        while true {
          if asks.count >= settings.batchMax || bytes >= settings.batchBytesMax {
            hasFrames = true
            break
          }
          guard let content = try connection.reader.next() else { break }
          bytes += content.count
          let (id, request) = try StateFrames.request(content.span)
          if case .hello(let version) = request {
            connection.isGreeted = version == StateFrames.version
            send(
              connection.isGreeted ? .welcome(version: StateFrames.version) : .failed(.version),
              to: StateAsker(connection: connection.number, id: id))
          } else if connection.isGreeted, let reply = backup(request) {
            send(reply, to: StateAsker(connection: connection.number, id: id))
          } else if connection.isGreeted {
            asks.append((StateAsker(connection: connection.number, id: id), request, nil))
          } else {
            send(.failed(.version), to: StateAsker(connection: connection.number, id: id))
          }
        }
      } catch {
        complain("a connection sent what cannot be understood (\(error)) and is closed")
        connection.isBroken = true
      }
    }
    return asks
  }

  /// What is asked about copies, which nothing of the store is needed for.
  private func backup(_ request: StateRequest) -> StateReply? {
    switch request {
    case .planBackup(let declaration):
      backups?.plan(declaration)
      return .declared
    case .lookBackup: return .backup(backups?.counts ?? BackupCounts())
    default: return nil
    }
  }

  /// One transaction for all of them; the keys of which there is news.
  private func transact(_ asks: [Ask]) throws -> [StateDigest] {
    let now = SystemClock.now()
    let wall = SystemClock.wall()
    let isLow = store.isLowOnSpace
    do {
      let (outcomes, settled, areBack) = try store.transact { table in
        try queues.advance(in: table, now: now, wall: wall)
        let areBack = try unheard.isEmpty || queues.takeBack(unheard, in: table, now: now, wall: wall)
        try logs.advance(in: table, queues: &queues, now: now, wall: wall)
        var settled: [StateDigest] = []
        var outcomes: [Outcome] = []
        outcomes.reserveCapacity(asks.count)
        for ask in asks {
          switch ask.request {
          case .hello, .claim, .complete, .release:
            outcomes.append(
              .record(
                try desk.decide(
                  ask.request, giveUpAt: ask.giveUpAt, in: table, isLowOnSpace: isLow, now: now, wall: wall,
                  settled: &settled)))
          case .declareLogs, .append, .read, .seek, .lookLog, .join, .leave, .replay, .saveDocument, .document,
            .documents:
            outcomes.append(
              .queue(
                try logs.decide(
                  ask.request, by: ask.asker, in: table, queues: &queues, isLowOnSpace: isLow, now: now, wall: wall)))
          case .planBackup, .lookBackup: outcomes.append(.queue(backup(ask.request)))
          case .declare, .enqueue, .lease, .settle, .look, .steer:
            outcomes.append(
              .queue(
                try queues.decide(
                  ask.request, by: ask.asker, in: table, isLowOnSpace: isLow, now: now, wall: wall)))
          }
        }
        try logs.serve(in: table)
        try queues.serve(in: table, now: now, wall: wall)
        return (outcomes, settled, areBack)
      }
      if areBack { unheard = [] }
      if let word = logs.conflict, word != conflict {
        conflict = word
        complain(word)
      }
      if trouble != nil {
        trouble = nil
        complain("the database takes changes again")
      }
      for (ask, outcome) in zip(asks, outcomes) {
        switch outcome {
        case .record(let outcome):
          desk.settle(ask.asker, outcome)
          if case .reply(let reply) = outcome { send(reply, to: ask.asker) }
        case .queue(let reply): if let reply { send(reply, to: ask.asker) }
        }
      }
      for (asker, reply) in queues.commit() + logs.commit() { send(reply, to: asker) }
      return settled
    } catch let error as StateStoreError {
      if trouble != error { complain("\(error): refused until it is mended") }
      trouble = error
      let failure: StateReply.Failure = error == .full ? .full : .broken
      for ask in asks { send(.failed(failure), to: ask.asker) }
      let askers = asks.map(\.asker)
      for (asker, reply) in queues.undo(failure, of: askers, now: now) + logs.undo(failure, of: askers) {
        send(reply, to: asker)
      }
      return []
    }
  }

  /// What nobody waits for: forgetting, and giving back room.
  private func housekeep(now: Instant) throws {
    guard now >= forgetAt else { return }
    forgetAt = now + settings.forgetEvery
    backups?.advance(now: SystemClock.wall())
    do {
      let wall = SystemClock.wall()
      let (count, messages) = try store.transact { table in
        let messages = try table.forgetMessages(until: wall.milliseconds, limit: settings.forgetMax)
        let count = max(
          try table.forget(until: wall, limit: settings.forgetMax), try table.clearGone(limit: settings.forgetMax),
          try logs.forget(in: table, queues: queues, limit: settings.forgetMax * 4, wall: wall) / 4,
          try queues.forgetOrder(in: table, limit: settings.forgetMax, wall: wall.milliseconds))
        return (count, messages)
      }
      queues.forgot(dead: messages.dead)
      for (asker, reply) in logs.commit() { send(reply, to: asker) }
      // More is waiting: a tenth of the time between two looks, so that requests come first.
      if max(count, messages.count) >= settings.forgetMax { forgetAt = now + settings.forgetEvery / 10 }
      try store.compact()
    } catch {
      // A full or broken disk is told by the requests that need it; forgetting is tried again.
      logs.undoForgetting()
      forgetAt = now + settings.forgetEvery * 10
    }
  }
}
