// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// How messages of a queue get from the state process to the service that works on them: how many are taken at a time,
/// what an answer means for its message, and when to leave a service alone that takes nothing.
///
/// Which message is next, and when again, is the queue's decision (``DeliveryQueue``); how the call is made is the
/// call's (``UpstreamCall``). One value a queue and loop; the simulator drives the same.
///
///     ask(n) ─▶ leased(k ≤ n) ─▶ k calls ─▶ ended ─▶ ack · retry · refused · give back
///        ▲                                                            │ nobody was asked: rest, then one alone
///        └────────────────────────────────────────────────────────────┘
/// A call has one message, or up to `batch` of them, and then one verdict for all. What may be the fault of one of them
/// must not be all the others': a batch is never refused for good; messages that have failed before never go with new
/// ones, and among themselves as few in a call as there is room for, those that have failed as often together; the last
/// attempt is alone; and after a batch that has failed so many go one by one as it had. Under load, when new ones fill all
/// calls, those that have failed are given back and go one by one as soon as one has ended.
///
/// ## Invariants
/// 1. At most `slots` calls are under way (after a plan with fewer: until those that are too many have ended), and at
///    most one ask is open.
/// 2. What did not reach the service costs the message no attempt: it is given back, and the delivery rests, longer
///    each time, so that a service that is away uses up no message.
/// 3. After a rest one message goes alone; the others follow when it has reached the service.
/// 4. A message is refused for good only when it was alone in its call, and so is each message's last attempt, if it has
///    another before it: no message is a dead letter for what another is.
/// 5. What has been leased goes at once or is given back at once: a lease is not spent on waiting.
public struct QueueDelivery: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Calls under way at the same time, on one loop.
    public var slots = 64
    /// Messages of one call, at most.
    public var batch = 1
    /// After so many attempts a message is dead: ``DeliveryQueue/Settings/attempts``.
    public var attempts = Int.max
    /// How long nothing is taken after nothing could be delivered.
    ///
    /// From 100 ms, for an instance that starts again is back in a second, to 5 s, so that a service that comes back after an
    /// hour is found within that.
    public var rest: Backoff.Settings = {
      var settings = Backoff.Settings()
      settings.first = .milliseconds(100)
      settings.max = .seconds(5)
      return settings
    }()

    public init() {}

    /// The longest that whoever works on a message can hold it back by its word, `Retry-After` or `retry-after`: twelve hours.
    ///
    /// As SQS has it, where a consumer that wants a message later says so by its visibility timeout, which ends twelve hours
    /// after the message was received. Without a bound one answer would park a message, and with a key all behind it, for years.
    public static var retryAfterMax: Duration { .seconds(12 * 3600) }

    /// For a queue that has at most `atOnce` messages in work.
    ///
    /// More than 1024 calls on one loop are more than one service's worth of work.
    public init(atOnce: Int, batch: Int = 1, attempts: Int = .max) {
      slots = min(max(1, atOnce / max(1, batch)), 1024)
      self.batch = max(1, batch)
      self.attempts = attempts
    }

    /// Whether that one of several event loops delivers messages of the queue.
    ///
    /// The queue bounds messages, over all loops. Where several go in one call it is the calls that have to be bounded, so
    /// one loop makes them all.
    public func isDelivered(onLoop index: Int) -> Bool { batch == 1 || index == 0 }
  }

  /// What goes together, by the indexes of what was leased.
  public struct Calls: Sendable, Equatable {
    public var calls: [[Int]] = []
    /// To be given back at once: there is no call for them now.
    public var back: [Int] = []

    public init(calls: [[Int]] = [], back: [Int] = []) {
      self.calls = calls
      self.back = back
    }
  }

  /// Messages of one answer to an ask, at most: a frame between processes is bounded.
  public static let leasesMax = 1000

  /// What becomes of a message.
  public enum Verdict: Sendable, Equatable {
    /// The service has taken it.
    case ack
    /// Again, not before so many nanoseconds if the service said so.
    case retry(after: Int64?)
    /// The service will never take it: no attempt more.
    case refused
    /// The service was not asked.
    case giveBack
  }

  private var slots: Int
  private var batch: Int
  private var attemptsMax: Int
  private var rest: Backoff
  /// Calls that are under way.
  public private(set) var inFlight = 0
  public private(set) var isAsking = false
  public private(set) var isStopped = false
  /// So many messages go one by one before there are batches again.
  private var singles = 0
  /// In a row: nothing reached the service.
  private var failures = 0
  private var restsUntil = Instant.zero

  public init(_ settings: Settings = Settings()) {
    slots = max(1, settings.slots)
    batch = max(1, settings.batch)
    attemptsMax = settings.attempts
    rest = Backoff(settings.rest)
  }

  /// The plan has changed; what is under way beyond the new slots ends first.
  public mutating func moved(to settings: Settings) {
    slots = max(1, settings.slots)
    batch = max(1, settings.batch)
    attemptsMax = settings.attempts
    rest = Backoff(settings.rest)
  }

  /// Nothing more is asked for; what is under way ends.
  public mutating func stop() { isStopped = true }

  /// How many messages to ask for now; 0 for none.
  public mutating func ask(now: Instant) -> Int {
    if isAsking || isStopped || now < restsUntil { return 0 }
    let most = failures > 0 ? 1 : slots
    guard inFlight < most else { return 0 }
    isAsking = true
    let each = failures > 0 || singles > 0 ? 1 : batch
    return min((most - inFlight) * each, QueueDelivery.leasesMax)
  }

  /// When ``ask(now:)`` may say something else by itself.
  public var nextWake: Instant { isStopped || isAsking || restsUntil == .zero ? .distantFuture : restsUntil }

  /// The answer to an ask, each message of which is a call.
  public mutating func leased(_ count: Int) {
    isAsking = false
    inFlight += count
  }

  /// The answer to an ask, by the attempts of its messages (1: the first); what goes together.
  public mutating func leased(attempts: [UInt16]) -> Calls {
    var answer = Calls()
    if batch == 1 {
      answer.calls = attempts.indices.map { [$0] }
    } else {
      pack(attempts, into: &answer)
      // Those that have failed have waited for long enough: as soon as a call has ended it is their turn, one by one.
      singles = max(singles, answer.back.count { attempts[$0] > 1 })
    }
    leased(answer.calls.count)
    return answer
  }

  private func pack(_ attempts: [UInt16], into answer: inout Calls) {
    let free = max(1, slots - inFlight)
    let isOneByOne = singles > 0
    let new = isOneByOne ? [] : attempts.indices.filter { attempts[$0] <= 1 }
    answer.calls = QueueDelivery.pieces(new, batch)
    // The most often failed first: who has failed as often is in the same call, so a poison is soon among few.
    let failed =
      isOneByOne
      ? Array(attempts.indices)
      : attempts.indices.filter { attempts[$0] > 1 }.sorted {
        (attempts[$1], $0) < (attempts[$0], $1)
      }
    let alone = failed.filter { isOneByOne || Int(attempts[$0]) >= attemptsMax }
    for index in alone {
      if answer.calls.count < free { answer.calls.append([index]) } else { answer.back.append(index) }
    }
    let together = isOneByOne ? [] : failed.filter { Int(attempts[$0]) < attemptsMax }
    if together.isEmpty { return }
    let room = max(0, free - answer.calls.count)
    let fit = together.prefix(room * batch)
    if room > 0 { answer.calls += QueueDelivery.pieces(Array(fit), (fit.count + room - 1) / room) }
    answer.back += together.dropFirst(fit.count)
  }

  private static func pieces(_ indices: [Int], _ size: Int) -> [[Int]] {
    stride(from: 0, to: indices.count, by: size).map { Array(indices[$0..<min(indices.count, $0 + size)]) }
  }

  /// The ask was not answered: whoever keeps the queue is away.
  public mutating func unanswered(now: Instant, using random: inout SeededRandom) {
    isAsking = false
    leaveAlone(now, &random)
  }

  /// A call has ended.
  ///
  /// `status` is of the service's own answer, 0 when there was none; `reason` is why there was none, or why ours stands in
  /// its place. `attempts` is how often the service was tried; `messages` how many went in the call: what is said holds for
  /// each of them.
  public mutating func ended(
    status: UInt16, reason: Reason, attempts: UInt8, retryAfter: Int64?, messages: Int = 1, now: Instant,
    using random: inout SeededRandom
  ) -> Verdict {
    inFlight -= 1
    if reason != .none && attempts == 0 {
      leaveAlone(now, &random)
      return .giveBack
    }
    failures = 0
    restsUntil = .zero
    let verdict = QueueDelivery.verdict(status: reason == .none ? status : 0, retryAfter: retryAfter)
    if messages == 1 {
      singles = max(0, singles - 1)
      return verdict
    }
    if verdict == .ack { return .ack }
    singles = max(singles, messages)
    return verdict == .refused ? .retry(after: nil) : verdict
  }

  /// What came when nothing is to be delivered any more: a call that is not made.
  public mutating func declined() { inFlight -= 1 }

  /// One that was put aside (``declined()``) is delivered after all.
  public mutating func resumed() { inFlight += 1 }

  private mutating func leaveAlone(_ now: Instant, _ random: inout SeededRandom) {
    // Several that fail together are one failure.
    if now < restsUntil { return }
    failures = min(failures + 1, 64)
    restsUntil = now.advanced(by: rest.wait(after: failures, using: &random))
  }

  /// What an answer says of its message; `status` 0: there was none.
  ///
  /// 2xx is done. What says "you" (4xx) will say so again, but for those that say "not now": 408, 409, 425, 429. All
  /// else may be better next time: redirects are mended by an operator. A wish for later counts up to ``Settings/retryAfterMax``.
  public static func verdict(status: UInt16, retryAfter: Int64?) -> Verdict {
    let retryAfter = retryAfter.map { min($0, Settings.retryAfterMax.inNanoseconds) }
    return switch status {
    case 200..<300: .ack
    case 408, 409, 425, 429: .retry(after: retryAfter)
    case 400..<500: .refused
    default: .retry(after: retryAfter)
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    inFlight < 0 ? "\(inFlight) messages are under way" : nil
  }
}
