// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Brings the rows of an outbox to where they are to go: which next, when again, when a row may be deleted.
///
/// Source: the transactional outbox, Richardson, *Microservices Patterns* (2018), §3.3. A program writes its data and a row in
/// one transaction; whoever runs this sends the row and deletes it when it was taken. What ends between the two sends the row
/// again, with the same id: its queue or log takes that once.
///
///     rest ─over, or woken─▶ read ─rows─▶ send ─taken─▶ delete ─▶ send … ─none left─▶ read
///      ▲                      │none, or    │refused: its target rests, its rows stay
///      └──────────────────────┘failed  ◀───┘
/// ## Invariants
/// 1. A row is deleted only after it was taken.
/// 2. Rows of one target are sent in the order of their ids, those that nobody could ever take left out.
/// 3. A target that refuses holds up no other target; it is asked again, later each time.
/// 4. What is held is bounded: `rowsMax` rows, `targetsMax` targets that rest, `asideMax` rows that are left out.
public struct OutboxRelay: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Rows that are read at a time.
    public var rowsMax = 200
    /// Bytes of one send: the half of what a frame may have.
    public var bytesMax = 4 << 20
    /// How often an empty table is looked at again.
    public var poll = Duration.milliseconds(50)
    /// The first rest after a failure; twice as long each time, up to `restMax`.
    public var rest = Duration.milliseconds(100)
    public var restMax = Duration.seconds(5)
    /// Targets that rest at the same time.
    public var targetsMax = 64
    /// Rows that are left out because nobody can take them.
    public var asideMax = 100
    /// They are looked at again after this: somebody may have mended them, or the file.
    public var asideFor = Duration.seconds(30)

    public init() {}
  }

  /// A row that was read.
  public struct Row: Sendable, Equatable {
    public var id: Int64
    /// `queues/emails`.
    public var target: String
    public var bytes: Int
    /// It says nothing that could ever be taken.
    public var isWrong: Bool

    public init(id: Int64, target: String, bytes: Int, isWrong: Bool = false) {
      self.id = id
      self.target = target
      self.bytes = bytes
      self.isWrong = isWrong
    }
  }

  public enum Order: Sendable, Equatable {
    /// In the order of ids; those of these targets, and these rows, left out.
    case read(limit: Int, without: [String], notRows: [Int64])
    /// In this order, all or none.
    case send(target: String, ids: [Int64])
    case delete([Int64])
    case rest(until: Instant)
  }

  /// What became of a send.
  public enum Outcome: Sendable, Equatable {
    case taken
    /// Or nobody has answered. `after`: not before.
    case refused(after: Duration?)
    /// Nothing was taken, because of these rows; they could never be.
    case wrong([Int64])
  }

  private struct Resting: Sendable, Equatable {
    var target: String
    var until: Instant
    var failures: Int
  }

  private let settings: Settings
  /// What was read and is not yet sent, by target.
  private var sends: [(target: String, ids: [Int64])] = []
  private var deletes: [Int64] = []
  private var resting: [Resting] = []
  /// Rows that are left out.
  public private(set) var aside: [Int64] = []
  private var asideUntil = Instant.zero
  private var restsUntil = Instant.zero
  private var failures = 0

  public init(_ settings: Settings = Settings()) { self.settings = settings }

  public static func == (a: OutboxRelay, b: OutboxRelay) -> Bool {
    a.settings == b.settings && a.sends.map(\.target) == b.sends.map(\.target)
      && a.sends.map(\.ids) == b.sends.map(\.ids)
      && a.deletes == b.deletes && a.resting == b.resting && a.aside == b.aside && a.asideUntil == b.asideUntil
      && a.restsUntil == b.restsUntil && a.failures == b.failures
  }

  /// A target has refused, and has not taken anything since.
  public var isResting: Bool { !resting.isEmpty }

  /// What is to be done now; the same until what came of it is told.
  public mutating func next(now: Instant) -> Order {
    if !deletes.isEmpty { return .delete(deletes) }
    if let send = sends.first { return .send(target: send.target, ids: send.ids) }
    if now < restsUntil { return .rest(until: restsUntil) }
    if !aside.isEmpty, now >= asideUntil { aside = [] }
    let without = resting.filter { $0.until > now }
    // So many targets that refuse are one trouble: nothing is gained by asking more of them.
    if without.count >= settings.targetsMax || aside.count >= settings.asideMax {
      let until = without.map(\.until).min() ?? asideUntil
      restsUntil = max(now + settings.poll, until)
      return .rest(until: restsUntil)
    }
    return .read(limit: settings.rowsMax, without: without.map(\.target), notRows: aside)
  }

  /// These rows were read.
  public mutating func read(_ rows: [Row], now: Instant) {
    failures = 0
    var bytes: [Int] = []
    sends = []
    for row in rows {
      if row.isWrong {
        leaveOut(row.id, now: now)
        continue
      }
      if let i = sends.lastIndex(where: { $0.target == row.target }), bytes[i] + row.bytes <= settings.bytesMax {
        sends[i].ids.append(row.id)
        bytes[i] += row.bytes
      } else {
        sends.append((row.target, [row.id]))
        bytes.append(row.bytes)
      }
    }
    restsUntil = rows.isEmpty ? now + settings.poll : now
  }

  /// What became of the send that was ordered.
  public mutating func sent(_ outcome: Outcome, now: Instant) {
    guard !sends.isEmpty else { return }
    let send = sends.removeFirst()
    let known = resting.firstIndex { $0.target == send.target }
    switch outcome {
    case .taken:
      deletes = send.ids
      if let known { resting.remove(at: known) }
    case .wrong(let ids):
      for id in ids { leaveOut(id, now: now) }
      sends.removeAll { $0.target == send.target }
    case .refused(let after):
      // What comes behind it for the same target would overtake it.
      sends.removeAll { $0.target == send.target }
      let failures = (known.map { resting[$0].failures } ?? 0) + 1
      let own = rest(failures)
      let until = now + max(own, min(after ?? .zero, settings.restMax))
      let entry = Resting(target: send.target, until: until, failures: failures)
      if let known { resting[known] = entry } else { resting.append(entry) }
      // A target that nobody writes to any more is forgotten.
      if resting.count > settings.targetsMax { resting.removeFirst() }
    }
  }

  /// The rows that were ordered to be deleted are.
  public mutating func deleted() { deletes = [] }

  /// The database did not do what was ordered: all is read again, for somebody else may have deleted meanwhile.
  ///
  /// What was taken and is not deleted is sent once more, and known by its id.
  public mutating func failed(now: Instant) {
    sends = []
    deletes = []
    failures += 1
    restsUntil = now + rest(failures)
  }

  /// Somebody has written a row.
  public mutating func woken(now: Instant) {
    if failures == 0 { restsUntil = min(restsUntil, now) }
  }

  private mutating func leaveOut(_ id: Int64, now: Instant) {
    if aside.isEmpty { asideUntil = now + settings.asideFor }
    if aside.count < settings.asideMax, !aside.contains(id) { aside.append(id) }
  }

  private func rest(_ failures: Int) -> Duration {
    min(settings.restMax, settings.rest * (1 << min(failures - 1, 16)))
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if sends.reduce(0, { $0 + $1.ids.count }) + deletes.count > 2 * settings.rowsMax {
      return "more rows than were read"
    }
    if aside.count > settings.asideMax { return "\(aside.count) rows are left out" }
    if resting.count > settings.targetsMax { return "\(resting.count) targets rest" }
    for (i, send) in sends.enumerated() where send.ids.isEmpty || send.ids != send.ids.sorted() {
      return "send \(i) of \(send.target): \(send.ids)"
    }
    return nil
  }
}
