// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Which message of a queue is delivered next, when it is tried again, and when it is given up.
///
/// Source: Gray and Reuter, *Transaction Processing* (1993), §10.4 (recoverable queues: a message is leased, then settled);
/// the words and limits are those of Amazon SQS (*visibility timeout*, *dead-letter queue*, *message group*). Parekh and
/// Gallager, *Generalized Processor Sharing* (1993): with messages of one cost, fair queueing is taking turns.
///
///     offer ──▶ delayed ──due──▶ waiting ──lease──▶ in flight ──ack──▶ done
///                  ▲               ▲ ▲                 │ ├─ giveBack ──▶ waiting, the attempt not counted
///                  │               │ └─────────────────┘ ├─ postpone ──▶ delayed, the attempt not counted
///                  │               │                     ├─ final, attempts used up, too old ──▶ dead
///                  └── backoff ────┴──── nack, lease over ┘
///
/// The index of one queue: no payloads. What it answers is written down by its owner, who builds it again from the rows
/// with `restore`. The next one is, of the messages that may go, of the highest priority; among those the tenants take
/// turns; of a tenant's the lowest id goes. Messages with the same key go one after the other (in the order they became
/// due, then of their ids); who waits for a retry, or was postponed, is the first of its key, and holds it: only its key.
///
/// **Order of calls.** Time moves by `tick` only: call it until it says less than `max`, then `lease`. `nextWake` says when
/// `tick` or `lease` can do something new. What a call costs grows with the logarithm of the queue's length (a queue that
/// has doubled moves once, 60 ms for a million).
///
/// ## Invariants
/// 1. A message is in one place: delayed, waiting, in flight; what was acked or is dead is nowhere.
/// 2. At most `atOnce` are in flight; of a key at most `keyAtOnce` are in flight or wait for their retry, when one more
///    is leased. With `keyAtOnce` 1 a key's messages are settled in their order.
/// 3. Of two tenants that both have something to go at one priority, neither is leased twice before the other is once.
/// 4. In any time t at most ⌊burst + rate·t⌋ are leased.
/// 5. The number of a lease of a message (its `attempt`) is never given out twice: who is late is `lost`.
/// 6. What may go is leased, or `nextWake` or a settling says when: no state delivers nothing for ever.
public struct DeliveryQueue: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How long a lease lasts: what the work may take before it counts as failed (SQS: 30 s).
    public var visibility = Duration.seconds(30)
    /// How often a message is leased before it is dead, the first time included.
    ///
    /// With the backoff below the twentieth is 8 to 12 hours after the first: a consumer that is down over night gets all.
    public var attempts = 20
    /// The wait after a failure: from 1 s, the time a program needs to start again (from a call's 100 ms four attempts
    /// are gone within a deployment), to 1 h, so that a cause that was mended is found within the hour.
    public var backoff = Settings.longBackoff
    /// Whether what is dead is kept to be looked into, or dropped; its owner does either.
    public var keepsDead = true
    /// How long after it was due a message is still worth delivering (SQS keeps up to 14 days).
    public var keep = Duration.seconds(14 * 86_400)
    /// For how long the same id is the same message (SQS: 5 min); its owner looks that up.
    public var dedup = Duration.seconds(300)
    /// How many wait, are delayed or in flight.
    public var length = 1_000_000
    /// How many bytes of payload they have, all together.
    public var bytes = 1 << 30
    /// How many are in flight.
    public var atOnce = Int(Int32.max)
    /// How many of one key are in flight or wait for their retry.
    public var keyAtOnce = 1
    /// How many are leased a second; the burst is a tenth of a second's worth, and at least 1.
    ///
    /// A puller asks for several at once: without a burst it would get them one by one; a second's worth would double what
    /// the callee gets in the first second after a pause.
    public var rate: Rate?

    public init() {}

    /// When a message that is due at `due` is too old.
    public func expiry(due: Instant) -> Instant { due.advanced(by: max(0, keep.inNanoseconds)) }

    private static var longBackoff: Backoff.Settings {
      var settings = Backoff.Settings()
      settings.first = .seconds(1)
      settings.max = .seconds(3600)
      return settings
    }
  }

  /// What the index knows of a message.
  public struct Entry: Sendable, Equatable, BitwiseCopyable {
    /// Rises in the order of acceptance; given by the owner.
    public var id: Int64
    /// A hash of what orders it; 0: nothing does.
    public var key: UInt64
    /// A hash of whose it is; 0: nobody's, which is a tenant like others.
    public var tenant: UInt64
    /// From 0 to 9, 9 goes first.
    public var priority: UInt8
    /// Bytes of payload.
    public var bytes: Int32
    /// Not before: at the first the later of what was wished and of its acceptance, later the time of its retry.
    public var due: Instant
    /// Not from here on, see `Settings.expiry`.
    public var expires: Instant
    /// The number of its last lease, 0 before the first.
    public var attempts: UInt16
    /// How many of them were given back and do not count.
    public var givenBack: UInt16
    /// Its work was put off once: it has begun, so it is of those of its key that go first, as after a failure.
    public var isPostponed: Bool
    /// Set while it is in flight.
    public var leasedUntil: Instant?

    public init(
      id: Int64, key: UInt64 = 0, tenant: UInt64 = 0, priority: UInt8 = Entry.priorityUsual, bytes: Int32 = 0,
      due: Instant, expires: Instant, attempts: UInt16 = 0, givenBack: UInt16 = 0, isPostponed: Bool = false,
      leasedUntil: Instant? = nil
    ) {
      self.id = id
      self.key = key
      self.tenant = tenant
      self.priority = priority
      self.bytes = bytes
      self.due = due
      self.expires = expires
      self.attempts = attempts
      self.givenBack = givenBack
      self.isPostponed = isPostponed
      self.leasedUntil = leasedUntil
    }

    /// The priority of what says none.
    public static var priorityUsual: UInt8 { 4 }
    /// The highest priority.
    public static var priorityMax: UInt8 { 9 }
  }

  public enum Offer: Sendable, Equatable {
    case accepted
    /// No room; there may be some after so many nanoseconds, if all who were refused come back as they were told.
    case full(retryAfter: Int64)
  }

  /// A message in flight: `attempt` names this lease of it.
  public struct Leased: Sendable, Equatable, BitwiseCopyable {
    public var id: Int64
    public var attempt: UInt16
    public var until: Instant

    public init(id: Int64, attempt: UInt16, until: Instant) {
      self.id = id
      self.attempt = attempt
      self.until = until
    }
  }

  public enum DeadReason: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    /// As many leases as are allowed have failed.
    case attempts = 1
    /// It is too old.
    case expired = 2
    /// Who worked on it says that trying again cannot help.
    case refused = 3
  }

  public enum Settled: Sendable, Equatable, BitwiseCopyable {
    case done
    case retry(at: Instant)
    case dead(DeadReason)
    case extended(until: Instant)
    case givenBack
    /// The lease has gone to another, or was settled, or the message is gone: what was said does not count.
    case lost
  }

  /// What time has done to a message.
  public struct Change: Sendable, Equatable, BitwiseCopyable {
    public var id: Int64
    public var settled: Settled

    public init(id: Int64, settled: Settled) {
      self.id = id
      self.settled = settled
    }
  }

  public enum State: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    /// It may be leased, or stands behind others of its key.
    case waiting
    /// Its time has not come, for the first time or for a retry.
    case delayed
    case inFlight
  }

  public struct Readings: Sendable, Equatable {
    public var waiting = 0
    public var delayed = 0
    public var inFlight = 0
    public var bytes = 0
    /// Of those that wait: behind another of their key.
    public var blocked = 0
    /// Of those that are delayed: after a failure, or postponed.
    public var retrying = 0
    /// When the one that has waited longest became due; what was given back counts as that.
    public var oldest: Instant?

    public init() {}
  }

  public internal(set) var settings: Settings
  /// Nothing is leased while this is true; everything else goes on.
  public var isPaused = false

  var messages = KeyedSlab<Message>()
  var lanes = KeyedSlab<Lane>()
  var flows = KeyedSlab<Flow>()
  var timers: [Timer] = []
  /// The tenants' turns of each priority.
  var turns = FixedArray<10, Turns>(repeating: Turns())
  var counts = Readings()
  /// Those that wait, by when they began to.
  var longest: Int32 = -1
  var newest: Int32 = -1
  /// How fast messages leave.
  var drain = Drain()
  private var pace: GCRA?
  private var paceCell: Int64 = 0
  /// When the rate lets another go that was held back by it.
  private var pacedUntil = Instant.distantFuture
  var backoff: Backoff

  public init(_ settings: Settings = Settings()) {
    self.settings = settings
    backoff = Backoff(settings.backoff)
    pace = DeliveryQueue.pace(settings)
  }

  /// How many messages it has, in whatever state.
  public var count: Int { messages.count }

  public var readings: Readings {
    var readings = counts
    readings.oldest = longest < 0 ? nil : Instant(nanoseconds: messages[longest].due)
    return readings
  }

  /// When `tick` or `lease` can do something new if nothing else happens; after a finished `tick` it is in its future.
  public var nextWake: Instant {
    let timer = timers.first.map { Instant(nanoseconds: $0.at) } ?? .distantFuture
    return isPaused ? timer : min(timer, pacedUntil)
  }

  /// What is known of a message.
  public func entry(_ id: Int64) -> Entry? {
    let index = messages.find(id)
    return index < 0 ? nil : entry(at: index)
  }

  /// Where a message is.
  public func state(_ id: Int64) -> State? {
    let index = messages.find(id)
    return index < 0 ? nil : messages[index].state
  }

  /// Bytes of memory that the index has reserved.
  public var reservedBytes: Int {
    messages.reservedBytes + lanes.reservedBytes + flows.reservedBytes
      + timers.capacity * MemoryLayout<Timer>.stride
  }

  // MARK: Inputs

  /// Whether so many messages with so many bytes find room now, all or none; a refusal counts for `retryAfter`.
  ///
  /// An empty queue takes any one message: otherwise what is larger than `bytes` would be told to come again for ever.
  public mutating func room(for count: Int, bytes: Int, now: Instant) -> Offer {
    hasRoom(for: count, bytes: bytes) ? .accepted : .full(retryAfter: drain.refused(count, now: now))
  }

  /// The same, of one who does not go away when there is none, and so does not count.
  public func hasRoom(for count: Int, bytes: Int) -> Bool {
    if messages.count == 0 && count <= 1 { return true }
    return messages.count + count <= max(1, settings.length) && counts.bytes + bytes <= settings.bytes
  }

  /// Takes a message that is not here.
  public mutating func offer(_ entry: Entry, now: Instant) -> Offer {
    let answer = room(for: 1, bytes: Int(entry.bytes), now: now)
    if answer == .accepted {
      var entry = entry
      entry.due = max(entry.due, now)
      insert(entry, now: now)
    }
    return answer
  }

  /// Takes a message as it was written down, whatever the length; those that wait in the order in which they were due.
  ///
  /// What is due at `now` waits at once, all else by the next `tick`. `due` is that of its acceptance or of its retry.
  public mutating func restore(_ entry: Entry, now: Instant = .zero) { insert(entry, now: now) }

  /// Leases up to `max` of those that may go, for `visibility` nanoseconds or as long as the settings say.
  public mutating func lease(
    _ max: Int, for visibility: Int64? = nil, now: Instant, into leased: inout [Leased]
  ) {
    pacedUntil = .distantFuture
    if isPaused { return }
    let length = Swift.max(1, visibility ?? settings.visibility.inNanoseconds)
    var left = max
    while left > 0, counts.inFlight < Swift.max(1, settings.atOnce), let flow = nextFlow() {
      if let pace {
        switch pace.decide(cell: paceCell, now: now) {
        case .allow(let cell, _): paceCell = cell
        case .refuse(let until):
          pacedUntil = until
          return
        }
      }
      let index = take(from: flow)
      let until = now.advanced(by: length)
      if messages[index].attempts < .max { messages[index].attempts += 1 }
      messages[index].until = until.nanoseconds
      messages[index].hasLapsed = false
      messages[index].state = .inFlight
      counts.inFlight += 1
      hold(index)
      schedule(index, at: until.nanoseconds)
      leased.append(Leased(id: messages[index].id, attempt: messages[index].attempts, until: until))
      left -= 1
    }
  }

  /// Goes on under other settings: what is in flight keeps its lease, what is too much goes out as it would.
  ///
  /// Looks at every key when `keyAtOnce` has changed.
  public mutating func change(to new: Settings, now: Instant) {
    let old = settings
    settings = new
    backoff = Backoff(new.backoff)
    if new.rate != old.rate {
      pace = DeliveryQueue.pace(new)
      if let pace { paceCell = now.nanoseconds + pace.resetAfter(cell: paceCell, now: now) }
      pacedUntil = .distantFuture
    }
    if new.keyAtOnce != old.keyAtOnce { for lane in lanes.places() { arrange(lane) } }
  }

  /// Forgets that the rate held something back: `tick` and `lease` have come at that time.
  mutating func paceReached(now: Instant) {
    if pacedUntil <= now { pacedUntil = .distantFuture }
  }

  private static func pace(_ settings: Settings) -> GCRA? {
    guard let rate = settings.rate, rate.perSecond > 0 else { return nil }
    return GCRA(rate: rate, burst: max(1, Int(min(rate.perSecond / 10, 1e9))))
  }
}
