// SPDX-License-Identifier: Apache-2.0
internal import Synchronization
internal import WeirBase
package import WeirFlows
package import WeirMessaging
internal import WeirPlatform
package import WeirWire

/// Carries out what an ``OutboxRelay`` decides: reads the table, asks the state process, deletes.
///
/// A thread of its own, for databases block; what it knows is looked at from others.
package final class OutboxDriver: Sendable {
  /// What is known of it.
  package struct Report: Sendable, Equatable {
    package var counts = OutboxCounts()
    package var sent: UInt64 = 0
    /// Sends that were refused, or that nobody answered.
    package var refused: UInt64 = 0
    /// Rows that nobody can take, and what is wrong with the first.
    package var aside = 0
    /// Why nothing is sent, or not all; nil: all is well.
    package var problem: String?

    package init() {}
  }

  /// What was done last; a test dies after each.
  package enum Step: String, Sendable, CaseIterable { case read, sent, deleted }

  private struct Shared {
    var report = Report()
    var api: MessagingAPI
    var isStopped = false
    var hasEnded = false
  }

  /// Of a table's messages: nobody else's ids begin like this.
  private let name: String
  private let shared: Mutex<Shared>
  private let ask: @Sendable (StateRequest) -> StateReply?
  private let step: @Sendable (Step) -> Void
  private let settings: OutboxRelay.Settings

  /// - Parameters:
  ///   - name: the store's; the ids of its messages begin with it.
  ///   - ask: waits for the answer; nil when there is none in time.
  ///   - step: called after each step.
  package init(
    name: String, api: MessagingAPI, settings: OutboxRelay.Settings = .init(),
    ask: @escaping @Sendable (StateRequest) -> StateReply?, step: @escaping @Sendable (Step) -> Void = { _ in }
  ) {
    self.name = name
    self.ask = ask
    self.step = step
    self.settings = settings
    shared = Mutex(Shared(api: api))
  }

  package var report: Report { shared.withLock { $0.report } }
  package var hasEnded: Bool { shared.withLock { $0.hasEnded } }

  /// By these names and keys from now on.
  package func use(_ api: MessagingAPI) { shared.withLock { $0.api = api } }

  /// It cannot begin, for this reason.
  package func refuse(because problem: String) { shared.withLock { $0.report.problem = problem } }

  /// It ends after what it is about; nobody waits for it.
  package func stop() { shared.withLock { $0.isStopped = true } }

  /// Begins, on a thread of its own; `source` makes what is used there alone.
  package func start(_ source: @escaping @Sendable () -> any OutboxSource) throws {
    try SystemThread.start { [self] in
      run(source())
      shared.withLock { $0.hasEnded = true }
    }
  }

  private func run(_ source: any OutboxSource) {
    var relay = OutboxRelay(settings)
    var rows: [Int64: OutboxRow] = [:]
    var frames: [Int64: StateRequest] = [:]
    var random = SeededRandom(seed: UInt64(bitPattern: SystemClock.now().nanoseconds), stream: "ids")
    var countAt = Instant.zero
    while !shared.withLock({ $0.isStopped }) {
      let now = SystemClock.now()
      do {
        if now >= countAt {
          countAt = now + .seconds(1)
          let counts = try source.count()
          shared.withLock { $0.report.counts = counts }
        }
        switch relay.next(now: now) {
        case .read(let limit, let without, let notRows):
          let found = try source.read(limit: limit, without: without, notRows: notRows)
          rows = [:]
          frames = [:]
          var wrong: String?
          let api = shared.withLock { $0.api }
          let read = found.map { row in
            rows[row.id] = row
            var isWrong = false
            switch frame(row, api, &random) {
            case .success(let frame): frames[row.id] = frame
            case .failure(let why):
              isWrong = true
              wrong = wrong ?? "row \(row.id): \(why)"
            }
            return OutboxRelay.Row(id: row.id, target: row.target, bytes: row.bytes + 1024, isWrong: isWrong)
          }
          relay.read(read, now: now)
          tell(relay, wrong: wrong, hasRead: true)
          if !found.isEmpty { step(.read) }
        case .send(let target, let ids):
          let outcome = send(ids, frames, target)
          if outcome == .taken { step(.sent) }
          relay.sent(outcome, now: SystemClock.now())
          tell(relay, wrong: nil)
        case .delete(let ids):
          try source.delete(ids)
          relay.deleted()
          shared.withLock { $0.report.sent += UInt64(ids.count) }
          step(.deleted)
        case .rest(let until):
          if try source.wait(nanoseconds: max(1_000_000, min(until.since(now), 1_000_000_000))) {
            relay.woken(now: SystemClock.now())
          }
        }
      } catch {
        relay.failed(now: SystemClock.now())
        shared.withLock { $0.report.problem = "\(error)" }
      }
    }
  }

  private func tell(_ relay: OutboxRelay, wrong: String?, hasRead: Bool = false) {
    shared.withLock { shared in
      shared.report.aside = relay.aside.count
      if let wrong {
        shared.report.problem = wrong
      } else if hasRead && relay.aside.isEmpty && !relay.isResting {
        shared.report.problem = nil
      }
    }
  }

  // MARK: - Rows and frames

  private struct Flaw: Error, CustomStringConvertible { var description: String }

  /// What a row asks of the state process, as if its program had sent it over HTTP.
  private func frame(
    _ row: OutboxRow, _ api: MessagingAPI, _ random: inout SeededRandom
  ) -> Result<StateRequest, Flaw> {
    if let flaw = row.flaw { return .failure(Flaw(description: flaw)) }
    guard let body = row.body else {
      return .failure(
        Flaw(description: "a message has at most \(OutboxTable.bodyBytesMax) bytes, this has \(row.bytes)"))
    }
    let parts = row.target.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, OutboxTable.sections.contains(String(parts[0])) else {
      let some = OutboxTable.sections.map { "\($0)/<name>" }.joined(separator: ", ")
      return .failure(Flaw(description: "'\(row.target)' is no target; it is one of \(some)"))
    }
    let id = id(of: row)
    var path = "/\(row.target)"
    var fields = [MessagingField("Weir-Id", id)]
    if let key = row.key, !key.isEmpty {
      // A stream's key is part of its address.
      if parts[0] == "streams" {
        path += "/" + HeaderText.escaped(key)
      } else {
        fields.append(MessagingField("Weir-Key", key))
      }
    }
    if let type = row.type, !type.isEmpty {
      if parts[0] == "queues" || parts[0] == "sagas" {
        return .failure(Flaw(description: "a message of a \(parts[0] == "queues" ? "queue" : "saga") has no type"))
      }
      fields.append(MessagingField("Weir-Type", type))
    }
    if let headers = row.headers, !headers.isEmpty {
      guard let pairs = HeaderText.pairs(headers) else {
        return .failure(
          Flaw(description: "its headers are no JSON object of texts: {\"content-type\": \"text/plain\"}"))
      }
      for (name, value) in pairs {
        let lower = name.lowercased()
        if lower == "weir-id" || fields.contains(where: { $0.name.lowercased() == lower }) {
          return .failure(Flaw(description: "its headers have '\(name)', which is the table's own column"))
        }
        fields.append(MessagingField(name, value))
      }
    }
    let request = MessagingRequest(method: "POST", path: path, fields: fields, body: body)
    switch api.parse(request, now: SystemClock.wall(), using: &random) {
    case .ask(let frame, _):
      // One message with our id, whatever the row says: only that is known again.
      if case .enqueue(_, let messages) = frame, messages.count == 1, messages[0].id == Array(id.utf8) {
        return .success(frame)
      }
      if case .append(_, let entries) = frame, entries.count == 1, entries[0].id == Array(id.utf8) {
        return .success(frame)
      }
      return .failure(Flaw(description: "'\(row.target)' is nothing that a message can be sent to"))
    case .answer(let answer):
      return .failure(Flaw(description: HeaderText.detail(answer.body) ?? answer.reason.name.description))
    }
  }

  /// The row's id, and when it was written: a database that is made anew counts from 1 again.
  private func id(of row: OutboxRow) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in row.created.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return "\(name).\(row.id).\(String(repeating: "0", count: 16 - digits.count))\(digits)"
  }

  private func send(_ ids: [Int64], _ frames: [Int64: StateRequest], _ target: String) -> OutboxRelay.Outcome {
    var messages: [NewMessage] = []
    var entries: [NewEntry] = []
    var place: String?
    for id in ids {
      switch frames[id] {
      case .enqueue(let queue, let some):
        place = queue
        messages += some
      case .append(let log, let some):
        place = log
        entries += some
      default: return .wrong([id])
      }
    }
    guard let place else { return .refused(after: nil) }
    let reply = ask(entries.isEmpty ? .enqueue(queue: place, messages) : .append(log: place, entries))
    let why: String
    var after: Duration?
    switch reply {
    case .enqueued, .appended: return .taken
    case .queueFull(let retryAfter):
      why = "\(target) is full"
      after = .milliseconds(retryAfter)
    case .unknownQueue: why = "there is no \(target)"
    case .conflict(let index, let version):
      let id = ids[min(max(0, Int(index)), ids.count - 1)]
      count("row \(id): its stream has version \(version), and another one was expected")
      return .wrong([id])
    case .failed(.full): why = "there is no room on the disk of the state process"
    case nil: why = "the state process does not answer"
    default: why = "the state process could not take it"
    }
    count("\(target): \(why)")
    return .refused(after: after)
  }

  private func count(_ why: String) {
    shared.withLock {
      $0.report.refused += 1
      $0.report.problem = why
    }
  }
}
