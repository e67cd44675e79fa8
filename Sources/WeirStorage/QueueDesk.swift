// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns
package import WeirWire

/// Answers what is asked about queues: by their rows, and by an index of each in memory.
///
/// Confined to one thread. Everything happens within a transaction: `advance` does what time has done, `decide` answers a
/// request, `serve` gives what has come to those who wait for it. Then either the transaction is on the disk, and `commit`
/// says what is to be answered besides; or it is not, and after `undo` the indices that were touched are built again from
/// their rows, which tell what is committed.
///
///     advance ─▶ decide … ─▶ serve ─▶ sync ─┬─▶ commit ─▶ answers
///                                           └─▶ undo
/// ## Invariants
/// 1. An index that is not stale tells what the rows tell, and the rows of an answered request are on the disk.
/// 2. Of those who wait for a queue's messages who came first is served first; each is answered at the latest when its
///    patience ends.
/// 3. Time never goes back, also not over a restart: it is at least that of the newest message.
package struct QueueDesk {
  package struct Settings: Sendable {
    /// Long polls that may wait at the same time; more are refused.
    package var waitersMax = 65_536
    /// Longest patience of a poll.
    package var waitMax: Int64 = 3_600_000
    /// Messages of one queue that time moves, or one order of an operator, within one transaction.
    package var piece = 500
    /// Payload that is handed out within one transaction; who would get more waits for the next.
    package var leasedBytesMax = 32 << 20
    /// How long the status of what is done is kept at least.
    package var statusKeep: Int64 = 3_600_000
    /// Numbers that are taken for messages at a time: a restart skips what is left of them.
    package var numbersAtOnce: Int64 = 1000
    /// After a transaction that failed: how long nothing is begun of its own accord, and no index is built again.
    ///
    /// Doubled with each failure, for building the index of a million messages takes seconds.
    package var restAfterFailure = Duration.milliseconds(100)
    package var restMax = Duration.seconds(10)
    package init() {}
  }

  struct Waiter {
    var asker: StateAsker
    var max: Int
    var visibility: Int64?
    var giveUpAt: Instant
  }

  struct Queue {
    let number: Int64
    var declaration: QueueDeclaration
    var delivery: DeliveryQueue
    /// Of a group whose events are sorted.
    var sorter: GroupSorter?
    /// Dead letters.
    var dead: Int64 = 0
    /// Its index is not to be relied on: it is built from the rows before it is used.
    var isStale = true
    /// Changed by the transaction that is under way.
    var isTouched = false
    /// The transaction that is under way ends it.
    var isEnding = false
    /// Time has more to do than one piece.
    var hasMore = false
    var waiters: [Waiter] = []
    /// Of the waiters, those who get an answer when the transaction is on the disk.
    var served = 0

    var nextWake: Instant { min(delivery.nextWake, sorter?.nextWake ?? .distantFuture) }
  }

  /// What an operator has ordered of many messages, done in pieces.
  struct Job {
    enum Kind { case redrive, purgeLive, purgeDead }

    var asker: StateAsker
    var queue: Int
    var kind: Kind
    /// Messages up to here are done; those from `end` on have come later.
    var after: Int64 = 0
    var end: Int64
    var count: Int64 = 0
    var isOver = false
  }

  let settings: Settings
  var queues: [Queue] = []
  var indices: [String: Int] = [:]
  var jobs: [Job] = []
  /// The first job as the transaction that is under way leaves it.
  var nextJob: Job?
  var newJobs: [Job] = []
  /// Answers to those who have waited, for the time when the transaction is on the disk.
  var replies: [(asker: StateAsker, reply: StateReply)] = []
  var random: SeededRandom
  var waiters = 0
  /// Numbers that are ours to give.
  var numbers: Range<Int64> = 0..<0
  /// Payload that was handed out in the transaction that is under way, and whether it was as much as may be.
  var leasedBytes = 0
  var isSated = false
  /// Wall time in nanoseconds that has been reached, and when that was.
  private var reached: Int64 = 0
  private var reachedAt = Instant.zero
  private var isOpen = false
  private var restsUntil = Instant.zero
  private var failuresInRow = 0
  /// Queues whose making is on the disk.
  private var committed = 0
  private var failure = StateReply.Failure.broken

  /// `seed` is for the jitter of retries.
  package init(_ settings: Settings = Settings(), seed: UInt64) {
    self.settings = settings
    random = SeededRandom(seed: seed)
  }

  // MARK: The transaction

  /// Reads which queues there are, and builds their indices.
  private mutating func open(in table: any QueueTable) throws {
    if isOpen { return }
    for row in try table.queues() { add(row) }
    committed = queues.count
    isOpen = true
    for i in queues.indices { try build(i, in: table) }
  }

  /// What time has done: leases that are over, delays that have ended, messages that are too old.
  package mutating func advance(in table: any QueueTable, now: Instant, wall: WallTime) throws {
    leasedBytes = 0
    isSated = false
    if now < restsUntil { return }
    _ = clock(wall, now)
    try open(in: table)
    let time = clock(wall, now)
    for i in queues.indices
    where queues[i].nextWake <= time || queues[i].hasMore || queues[i].isStale {
      try build(i, in: table)
      try tick(i, in: table, now: time)
    }
  }

  /// The answer to a request; nil: it waits for one.
  package mutating func decide(
    _ request: StateRequest, by asker: StateAsker, in table: any QueueTable, isLowOnSpace: Bool, now: Instant,
    wall: WallTime
  ) throws -> StateReply? {
    if !isOpen { return .failed(failure) }
    let time = clock(wall, now)
    if case .declare(let declarations) = request {
      return try declare(declarations, in: table, isLowOnSpace, now: time)
    }
    guard let name = QueueDesk.queue(of: request), let i = indices[name] else { return .unknownQueue }
    if queues[i].isStale && now < restsUntil { return .failed(failure) }
    try build(i, in: table)
    switch request {
    case .enqueue(_, let messages): return try enqueue(messages, i, in: table, isLowOnSpace, now: time)
    case .lease(_, let max, let visibility, let wait):
      if queues[i].waiters.isEmpty {
        let leased = try lease(Int(max), visibility, i, in: table, now: time)
        if !leased.isEmpty || wait == 0 { return .leased(leased) }
      } else if wait == 0 {
        return .leased([])
      }
      if waiters >= settings.waitersMax { return .failed(.tooMany) }
      let giveUpAt = now.advanced(by: min(wait, settings.waitMax) * 1_000_000)
      queues[i].waiters.append(
        Waiter(asker: asker, max: Int(max), visibility: visibility, giveUpAt: giveUpAt))
      waiters += 1
      return nil
    case .settle(_, let settlements): return .settled(try settle(settlements, i, in: table, now: time))
    case .look(_, let look): return try self.look(look, i, in: table, now: time)
    case .steer(_, let steer): return try self.steer(steer, i, by: asker, in: table, now: time)
    default: return .unknownQueue
    }
  }

  /// Gives what there is to those who wait for it, and goes on with what was ordered of many messages.
  package mutating func serve(in table: any QueueTable, now: Instant, wall: WallTime) throws {
    let time = clock(wall, now)
    for i in queues.indices where !queues[i].waiters.isEmpty && !queues[i].isStale {
      while queues[i].served < queues[i].waiters.count {
        let waiter = queues[i].waiters[queues[i].served]
        let leased = try lease(waiter.max, waiter.visibility, i, in: table, now: time)
        if leased.isEmpty { break }
        replies.append((waiter.asker, .leased(leased)))
        queues[i].served += 1
      }
    }
    if var job = jobs.first, now >= restsUntil {
      try build(job.queue, in: table)
      try go(on: &job, in: table, now: time)
      nextJob = job
    }
  }

  /// It is on the disk: the answers to those who have waited.
  package mutating func commit() -> [(asker: StateAsker, reply: StateReply)] {
    failuresInRow = 0
    for i in queues.indices {
      queues[i].isTouched = false
      if queues[i].served > 0 {
        queues[i].waiters.removeFirst(queues[i].served)
        waiters -= queues[i].served
        queues[i].served = 0
      }
    }
    if let job = nextJob {
      nextJob = nil
      if job.isOver {
        jobs.removeFirst()
        replies.append((job.asker, .steered(job.count)))
      } else {
        jobs[0] = job
      }
    }
    jobs += newJobs
    newJobs = []
    if queues.contains(where: \.isEnding) { free() }
    committed = queues.count
    defer { replies = [] }
    return replies
  }

  /// Queues that have ended leave their places: endpoints that come and go for years do not add up.
  private mutating func free() {
    let isEnding = queues.map(\.isEnding)
    var places: [Int] = []
    var place = 0
    for isGone in isEnding {
      places.append(place)
      if !isGone { place += 1 }
    }
    for job in jobs where isEnding[job.queue] { replies.append((job.asker, .unknownQueue)) }
    jobs.removeAll { isEnding[$0.queue] }
    for j in jobs.indices { jobs[j].queue = places[jobs[j].queue] }
    queues.removeAll(where: \.isEnding)
    for i in queues.indices { indices[queues[i].declaration.name] = i }
  }

  /// Nothing of it has happened: those of `askers` who would wait now do not; who waits for long orders is told.
  package mutating func undo(_ failure: StateReply.Failure, of askers: [StateAsker], now: Instant)
    -> [(asker: StateAsker, reply: StateReply)]
  {
    let rest = settings.restAfterFailure * (1 << min(failuresInRow, 16))
    restsUntil = now + min(rest, settings.restMax)
    failuresInRow += 1
    self.failure = failure
    numbers = 0..<0
    nextJob = nil
    newJobs = []
    replies = []
    let gone = Set(askers)
    for i in queues.indices {
      if queues[i].isTouched { queues[i].isStale = true }
      queues[i].isTouched = false
      queues[i].served = 0
      waiters -= queues[i].waiters.count
      queues[i].waiters.removeAll { gone.contains($0.asker) }
      waiters += queues[i].waiters.count
    }
    for queue in queues[min(committed, queues.count)...] { indices[queue.declaration.name] = nil }
    queues.removeSubrange(min(committed, queues.count)...)
    for i in queues.indices where queues[i].isEnding {
      queues[i].isEnding = false
      indices[queues[i].declaration.name] = i
    }
    defer { jobs = [] }
    return jobs.map { ($0.asker, .failed(failure)) }
  }

  /// Whether a failure is so recent that nothing is begun.
  func isResting(_ now: Instant) -> Bool { now < restsUntil }

  /// Nanoseconds until that is over.
  func rest(_ now: Instant) -> Int64 { max(0, restsUntil.since(now)) }

  // MARK: Time

  /// Those whose patience is over: nothing came.
  package mutating func giveUp(now: Instant) -> [(asker: StateAsker, reply: StateReply)] {
    if waiters == 0 { return [] }
    var over: [(asker: StateAsker, reply: StateReply)] = []
    for i in queues.indices where queues[i].waiters.contains(where: { now >= $0.giveUpAt }) {
      for waiter in queues[i].waiters where now >= waiter.giveUpAt { over.append((waiter.asker, .leased([]))) }
      queues[i].waiters.removeAll { now >= $0.giveUpAt }
    }
    waiters -= over.count
    return over
  }

  /// Nanoseconds until something is to be done that nobody asks for; 0: now.
  package func wait(now: Instant, wall: WallTime) -> Int64 {
    let rest = max(0, restsUntil.since(now))
    if !isOpen || !jobs.isEmpty || (isSated && waiters > 0) { return rest }
    let time = max(wall.milliseconds, reached / 1_000_000)
    var least = Int64.max
    for queue in queues {
      if queue.hasMore || queue.isStale { return rest }
      let wake = queue.nextWake
      if wake == .distantFuture { continue }
      // Up to the millisecond in which it is reached: that is how finely time goes here.
      least = min(least, max(0, (wake.nanoseconds - 1) / 1_000_000 + 1 - time) * 1_000_000)
    }
    if waiters > 0 {
      for queue in queues { for waiter in queue.waiters { least = min(least, max(0, waiter.giveUpAt.since(now))) } }
    }
    return max(rest, least)
  }

  /// Whoever asked through it is gone.
  package mutating func drop(connection: Int) {
    for i in queues.indices {
      let before = queues[i].waiters.count
      queues[i].waiters.removeAll { $0.asker.connection == connection }
      waiters -= before - queues[i].waiters.count
    }
  }

  /// So many dead letters of these queues have been forgotten.
  package mutating func forgot(dead: [Int64]) {
    for number in dead {
      for i in queues.indices where queues[i].number == number { queues[i].dead -= 1 }
    }
  }

  /// Queues that there are, those that end now with them.
  package var count: Int { queues.count }

  /// What is wrong with this state, or nil.
  package func violation() -> String? {
    let count = queues.reduce(0) { $0 + $1.waiters.count }
    if count != waiters { return "\(count) wait and \(waiters) are counted" }
    for (name, i) in indices where queues[i].declaration.name != name { return "\(name) has another's place" }
    for queue in queues where !queue.isStale {
      if let wrong = queue.delivery.violation() { return "\(queue.declaration.name): \(wrong)" }
      if queue.dead < 0 { return "\(queue.declaration.name): \(queue.dead) are dead" }
    }
    return nil
  }

  // MARK: The indices

  /// Wall time in whole milliseconds as the indices count it; it never goes back.
  ///
  /// Where the system's was set back it goes on at half the pace until it is reached: standing still would keep leases and
  /// delays from ending for as long.
  mutating func clock(_ wall: WallTime, _ now: Instant) -> Instant {
    let time = QueueDesk.instant(wall.milliseconds).nanoseconds
    reached = time >= reached ? time : reached + max(0, now.since(reachedAt)) / 2
    reachedAt = now
    return Instant(nanoseconds: reached / 1_000_000 * 1_000_000)
  }

  static func instant(_ milliseconds: Int64) -> Instant {
    let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
    return overflow ? .distantFuture : Instant(nanoseconds: product)
  }

  static func milliseconds(_ instant: Instant) -> Int64 { instant.nanoseconds / 1_000_000 }

  mutating func add(_ row: QueueRow) {
    indices[row.declaration.name] = queues.count
    var delivery = DeliveryQueue(QueueDesk.settings(row.declaration))
    delivery.isPaused = row.isPaused
    queues.append(Queue(number: row.number, declaration: row.declaration, delivery: delivery))
  }

  /// The index of a queue from its rows, unless it can be relied on.
  mutating func build(_ i: Int, in table: any QueueTable) throws {
    guard queues[i].isStale else { return }
    guard let row = try table.queue(queues[i].number) else {
      throw StateStoreError.broken("the queue \(queues[i].declaration.name) has no row")
    }
    // Those in flight first, for they hold their keys; then in the order in which they are due, as ticks would have moved them.
    // A store with a million opens in 1.8 s so; when ticks move each from being delayed it is 2.0 s.
    var delivery = DeliveryQueue(QueueDesk.settings(row.declaration))
    delivery.isPaused = row.isPaused
    queues[i].declaration = row.declaration
    let kept = try buildOrder(i, in: table)
    try table.eachLive(row.number) { live in
      if kept.contains(live.sequence) { return }
      delivery.restore(QueueDesk.entry(live), now: Instant(nanoseconds: reached / 1_000_000 * 1_000_000))
      reached = max(reached, QueueDesk.instant(live.enqueuedAt).nanoseconds)
    }
    queues[i].dead = try table.deadCount(row.number)
    queues[i].delivery = delivery
    queues[i].isStale = false
    repeat {
      try tick(i, in: table, now: Instant(nanoseconds: reached / 1_000_000 * 1_000_000))
    } while queues[i].hasMore
  }

  private mutating func tick(_ i: Int, in table: any QueueTable, now: Instant) throws {
    var changes: [DeliveryQueue.Change] = []
    queues[i].isTouched = true
    let done = queues[i].delivery.tick(settings.piece, now: now, using: &random, into: &changes)
    queues[i].hasMore = done >= settings.piece
    let at = QueueDesk.milliseconds(now)
    for change in changes {
      try table.saveLapse(change.id, at: at, error: "there was no word of it until its lease was over")
      _ = try record(change.settled, change.id, i, in: table, now: now)
    }
    try tickOrder(i, in: table, now: now)
  }

  static func entry(_ live: LiveMessage) -> DeliveryQueue.Entry {
    var entry = DeliveryQueue.Entry(
      id: live.sequence, key: hash(live.key), tenant: hash(live.tenant), priority: live.priority,
      bytes: Int32(clamping: live.bytes), due: instant(live.dueAt), expires: instant(live.expiresAt),
      attempts: live.attempts, givenBack: live.givenBack, isPostponed: live.isPostponed)
    entry.leasedUntil = live.leasedUntil.map(instant)
    return entry
  }

  /// FNV-1a (RFC 9923), mixed; 0 for nothing.
  ///
  /// Two keys with one hash are ordered together, which harms neither.
  static func hash(_ bytes: [UInt8]) -> UInt64 {
    if bytes.isEmpty { return 0 }
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    return max(1, SeededRandom.split(&hash))
  }

  static func settings(_ declaration: QueueDeclaration) -> DeliveryQueue.Settings {
    var settings = DeliveryQueue.Settings()
    settings.visibility = .milliseconds(declaration.visibility)
    settings.attempts = Int(declaration.attempts)
    settings.backoff.first = .milliseconds(declaration.backoffFirst)
    settings.backoff.max = .milliseconds(declaration.backoffMax)
    settings.backoff.jitter = declaration.backoffJitter
    settings.keepsDead = declaration.keepsDead
    settings.keep = .milliseconds(declaration.keep)
    settings.dedup = .milliseconds(declaration.dedup)
    settings.length = Int(declaration.length)
    settings.bytes = Int(declaration.bytes)
    settings.atOnce = Int(declaration.atOnce)
    settings.keyAtOnce = Int(declaration.keyAtOnce)
    settings.rate = declaration.rate.map(Rate.init(perSecond:))
    return settings
  }

  private static func queue(of request: StateRequest) -> String? {
    switch request {
    case .enqueue(let queue, _), .lease(let queue, _, _, _), .settle(let queue, _), .look(let queue, _),
      .steer(let queue, _):
      queue
    default: nil
    }
  }
}
