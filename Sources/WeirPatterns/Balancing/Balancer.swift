// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Picks the instance for the next attempt, from what its callers have seen of each.
///
/// This file is the registry and the state; each algorithm has its own file: `Balancer+PeakEWMA.swift` (the default),
/// `Balancer+LeastRequest.swift`, `Balancer+RoundRobin.swift`; the random choices they share are in
/// `Balancer+Choices.swift`. Requests with a key may have an ``Affinity`` instead (`Balancer+Affinity.swift`, over
/// `HashRing.swift`, `MaglevTable.swift`, `JumpHash.swift`); the algorithm then serves those without. A new algorithm is a file, a case of ``Algorithm`` and a line in
/// ``pick(among:excluding:limit:key:now:using:)``; to be written in a file it also needs a case of `Balance` and its line in the
/// keys of services (WeirModel), and a row on the page of the pattern.
///
///     pick ──instance(i)──▶ started(i) ──▶ finished(i, latency, failed)   learns
///       │full │none                   └──▶ released(i)                    learns nothing (cancelled, our own limit)
///
/// **Failures.** An instance that fails fast looks fast, and would attract all load. A failed attempt is therefore
/// recorded as a slow one: n failures in a row count as 5ⁿ typical latencies, at most `failurePenalty`. One stray
/// failure makes an instance five times as expensive and is forgotten within 2.3 half-lives (16 s); with 5 ms typical,
/// five in a row reach 5 s, above what any number of requests in flight at a good instance amounts to. Linkerd's Load
/// Biaser puts in 5 s for every failure; that starves an instance for over a minute after a single one (log₂(5 s ÷ 5
/// ms) × 7 s).
///
/// **Slow start.** An instance that has just joined is looked at with a probability that grows linearly from
/// `slowStartFrom` to 1 over `slowStart`. Multiplying its cost instead was considered: on an idle system with two
/// instances that gives it nothing until the ramp ends, and then half at once; seen this way its share is the ramp.
///
/// ## Invariants
/// 1. `inFlight` of an instance is `started` less `finished` and `released`, never below 0.
/// 2. Never picks an instance that is not serving, is marked full, or has `limit` in flight.
/// 3. A tried instance is picked only when every serving one was tried.
/// 4. Answers `none` only if nothing serves; `full` only if every serving instance is at its limit, marked or tried.
public struct Balancer: Sendable, Equatable {
  public enum Algorithm: UInt8, Sendable, Equatable, CaseIterable {
    case peakEWMA, leastRequest, roundRobin
  }

  /// What a request's key does: nothing, or it names the instance.
  public enum Affinity: UInt8, Sendable, Equatable, CaseIterable {
    case none, ring, maglev, jump
  }

  public struct Settings: Sendable, Equatable {
    public var algorithm = Algorithm.peakEWMA
    /// How long until a latency counts half.
    ///
    /// Finagle and linkerd decay with a mean lifetime of 10 s, which is a half-life of 10 s × ln 2 = 6.93 s.
    public var halfLife = Duration.seconds(7)
    /// How long an instance that has joined gets less than its share; 0 switches it off.
    public var slowStart = Duration.seconds(30)
    /// The share it begins with: 10 %, Envoy's `min_weight_percent`.
    public var slowStartFrom = 0.1
    /// The latency that failures in a row count for at most; at least the timeout of the call, for a failure must not
    /// look better than the slowest answer.
    ///
    /// 5 s: the default request timeout, and linkerd's `load-biaser-penalty`.
    public var failurePenalty = Duration.seconds(5)
    /// What each further failure in a row multiplies the recorded latency by.
    ///
    /// 5: five in a row, which also trip a breaker, weigh 3 125 times the typical latency.
    public var failureFactor = 5.0
    /// How many distinct instances are compared, 1 … 8.
    ///
    /// Two take nearly all of the gain (Mitzenmacher 2001; Envoy's `choice_count`): at 90 % load the mean time in
    /// system falls from 10 to 2.6, with three to 2.0.
    public var choices = 2
    /// How a request that has a key finds its instance; one without a key is balanced by `algorithm`.
    public var affinity = Affinity.none
    /// Points on the ring for an instance of mean weight.
    ///
    /// 160 as in libketama: shares differ by 8 % (one standard deviation, 100 instances).
    public var ringPoints = 160
    /// Slots of the Maglev table, raised to a prime: Envoy's default, for up to 655 instances within 1 % of even.
    public var maglevSlots = 65_537
    /// How many times the mean in flight an instance of a key may have before the key goes on; infinity switches it off.
    ///
    /// 1.25: the paper's example, and what Vimeo and HAProxy's documentation use.
    public var loadMax = 1.25
    /// So few in flight are never too many, whatever the mean: else two requests of one client at a quiet hour would go
    /// to two instances.
    ///
    /// 8 is an eighth of the default `at-once`.
    public var loadMin = 8

    public init() {}
  }

  /// The last four instances that this call has tried.
  public struct Tried: Sendable, Equatable, BitwiseCopyable {
    /// Four indexes of 16 bits, the latest in the lowest; all ones is "none".
    private var indexes: UInt64 = .max

    public init() {}

    public var isEmpty: Bool { indexes == .max }

    /// Remembers an index below 65 535; the oldest of more than four is forgotten.
    public mutating func insert(_ index: Int) {
      if contains(index) { return }
      indexes = indexes << 16 | UInt64(UInt16(truncatingIfNeeded: index))
    }

    public func contains(_ index: Int) -> Bool {
      let wanted = UInt64(UInt16(truncatingIfNeeded: index))
      return indexes & 0xffff == wanted || indexes >> 16 & 0xffff == wanted
        || indexes >> 32 & 0xffff == wanted || indexes >> 48 == wanted
    }
  }

  public enum Choice: Sendable, Equatable {
    case instance(Int)
    /// All that serve are at their limit, marked full, or tried while others are not.
    case full
    /// Nothing serves.
    case none
  }

  /// What is known of one instance: 64 bytes, one cache line.
  struct Instance: Sendable, Equatable, BitwiseCopyable {
    /// Seconds would lose digits: nanoseconds, as `Double`.
    var latency = EWMA()
    var joinedAt: Int64 = .min
    /// Smooth round robin's running credit.
    var credit: Int64 = 0
    var inFlight: Int32 = 0
    var weight: Int32 = 1
    /// 1 ÷ weight: costs are multiplied by it, for a division takes ten times as long.
    var perWeight = 1.0
    /// What its keys depend on: the same on all loops and nodes, and after a reload.
    var identity: UInt64 = 0
    var failuresInRow: UInt8 = 0
    var known = false
    var full = false
  }

  let algorithm: Algorithm
  let halfLife: Int64
  let slowStart: Int64
  let slowStartFrom: Double
  let failurePenalty: Double
  let failureFactor: Double
  let choices: Int
  let evenWeights: Bool

  var instances: [Instance]
  /// The latency of answers over all instances: what is assumed of one that has not answered yet.
  var typical: EWMA
  var typicalKnown = false
  /// Until then some instance may be in slow start.
  var startingUntil: Int64 = .min
  /// Round robin's place in `serving`.
  var cursor = 0
  let loadMax: Double
  let loadMin: Double
  /// 1 ÷ the greatest weight.
  let perHeaviest: Double
  let table: Table
  /// Lists of serving instances that keys were picked among lately; empty without an affinity.
  var listings: [Listing] = []
  var oldestListing = 0

  /// At most 65 534 instances; weights of 1 … 1 000 000, or all 1.
  ///
  /// Instances begin grown: slow start is for who joins. `identities` are hashes of what an instance is known by, its
  /// address for instance; keys follow them. Without, an instance is its index.
  public init(
    _ settings: Settings = Settings(), instances count: Int, weights: [Int]? = nil, identities: [UInt64]? = nil
  ) {
    precondition(count >= 0 && count < 65_535, "an instance's index has 16 bits")
    precondition(weights == nil || weights?.count == count, "one weight an instance")
    precondition(identities == nil || identities?.count == count, "one identity an instance")
    algorithm = settings.algorithm
    halfLife = max(1, settings.halfLife.inNanoseconds)
    slowStart = max(0, settings.slowStart.inNanoseconds)
    slowStartFrom = min(1, max(0.001, settings.slowStartFrom))
    failurePenalty = Double(max(1, settings.failurePenalty.inNanoseconds))
    failureFactor = max(1, settings.failureFactor)
    choices = max(1, min(Balancer.choicesMax, settings.choices))
    instances = [Instance](repeating: Instance(), count: count)
    typical = EWMA()
    var even = true
    if let weights {
      for (index, weight) in weights.enumerated() {
        instances[index].weight = Int32(max(1, min(weight, 1_000_000)))
        instances[index].perWeight = 1 / Double(instances[index].weight)
        even = even && instances[index].weight == instances[0].weight
      }
    }
    evenWeights = even
    loadMax = max(1, settings.loadMax)
    loadMin = Double(max(0, settings.loadMin))
    perHeaviest = instances.map(\.perWeight).min() ?? 1
    for index in 0..<count {
      // Mixed with a constant of its own: keys are mixed too, and indexes are small numbers as keys may be.
      instances[index].identity = KeyedHash.mix((identities?[index] ?? UInt64(index)) ^ 0x6964_656e_7469_7479)
    }
    let names = instances.map(\.identity)
    let shares = even ? nil : instances.map { Int($0.weight) }
    switch settings.affinity {
    case .none: table = .none
    case .ring where count > 0:
      table = .ring(HashRing(identities: names, weights: shares, pointsEach: settings.ringPoints))
    case .maglev where count > 0:
      table = .maglev(MaglevTable(identities: names, weights: shares, slots: settings.maglevSlots))
    case .ring, .maglev, .jump: table = count > 0 ? .jump : .none
    }
  }

  // MARK: Questions

  /// How many requests of ours are out at an instance.
  public func inFlight(_ index: Int) -> Int32 { instances[index].inFlight }

  /// Its last request failed by its own fault.
  public func failedLast(_ index: Int) -> Bool { instances[index].failuresInRow > 0 }

  /// It has answered, and no request since has failed by its fault.
  public func answeredLast(_ index: Int) -> Bool { instances[index].known && instances[index].failuresInRow == 0 }

  /// Whether it could be sent a request now: not at its limit, nor marked full.
  public func hasPlace(_ index: Int, limit: Int32) -> Bool { isOpen(index, Tried(), limit) }

  /// How many instances are known, serving or not.
  public var count: Int { instances.count }

  /// The latency an instance is taken to have at `now`, in nanoseconds; nil before its first answer.
  public func latency(_ index: Int, now: Instant) -> Int64? {
    guard instances[index].known else { return nil }
    return Int64(instances[index].latency.faded(halfLife: halfLife, now: now))
  }

  /// The share an instance is looked at with, below 1 while it starts slowly.
  public func slowStartShare(_ index: Int, now: Instant) -> Double {
    guard now.nanoseconds < startingUntil, instances[index].joinedAt >= 0 else { return 1 }
    let elapsed = now.nanoseconds - instances[index].joinedAt
    return elapsed >= slowStart ? 1 : max(slowStartFrom, Double(elapsed) / Double(slowStart))
  }

  // MARK: Inputs

  /// Which instance gets the next attempt.
  ///
  /// `serving` holds the indexes of the instances in rotation, each once. Tried ones are avoided while one is left that
  /// was not, then allowed again. An instance with `limit` of ours in flight, or marked full, is skipped. The cost does
  /// not depend on the number of instances but for two cases: when most of them are full (a scan, about 1 ns each), and
  /// round robin with uneven weights or slow start. `key` is a hash of what shall stay together (``KeyedHash``); with an
  /// affinity it decides, without one it is ignored. A list that changes costs a keyed pick a look at all of it, once.
  public mutating func pick(
    among serving: [UInt16], excluding tried: Tried, limit: Int32, key: UInt64? = nil, now: Instant,
    using random: inout SeededRandom
  ) -> Choice {
    if serving.isEmpty { return .none }
    let tried = tried.isEmpty || allTried(serving, tried) ? Tried() : tried
    if let key, hasAffinity {
      return homed(key, among: serving, excluding: tried, limit: limit, now: now)
    }
    switch algorithm {
    case .peakEWMA, .leastRequest:
      return chosen(among: serving, excluding: tried, limit: limit, now: now, using: &random)
    case .roundRobin:
      return rotated(among: serving, excluding: tried, limit: limit, now: now)
    }
  }

  /// A request goes out to an instance.
  public mutating func started(_ index: Int, now: Instant) {
    instances[index].inFlight += 1
    if !listings.isEmpty { count(index, 1) }
  }

  /// A request has come back: after `latency` nanoseconds, or failed by the instance's fault.
  public mutating func finished(_ index: Int, latency: Int64, failed: Bool, now: Instant) {
    released(index)
    if failed {
      if instances[index].failuresInRow < .max { instances[index].failuresInRow += 1 }
      learn(index, max(Double(latency), penalty(instances[index].failuresInRow)), now: now)
    } else {
      let isWellAgain = instances[index].failuresInRow > 0
      instances[index].failuresInRow = 0
      typical.add(Double(max(0, latency)), halfLife: halfLife, now: now)
      typicalKnown = true
      if isWellAgain {
        // What it was charged for failing is no latency of its own: it would be shunned for half a minute (five times
        // the others' latency, at a half-life of 7 s) though it answers.
        instances[index].latency.jump(to: Double(max(0, latency)), now: now)
        instances[index].known = true
      } else {
        learn(index, Double(max(0, latency)), now: now)
      }
    }
  }

  /// Others have seen it fail: it is avoided as after a failure of ours.
  public mutating func suspected(_ index: Int, now: Instant) {
    guard instances[index].failuresInRow == 0 else { return }
    instances[index].failuresInRow = 1
    learn(index, penalty(1), now: now)
  }

  /// Others have seen it well again: what it was charged for failing is forgotten, and it is taken for a typical one.
  public mutating func trusted(_ index: Int) {
    guard instances[index].failuresInRow > 0 else { return }
    instances[index].failuresInRow = 0
    instances[index].latency = EWMA()
    instances[index].known = false
  }

  /// A request was given up after so many nanoseconds, by a limit that is not the instance's fault.
  ///
  /// It is no failure; but an answer takes at least that long, and whoever is faster is the better choice.
  public mutating func gaveUp(_ index: Int, after elapsed: Int64, now: Instant) {
    released(index)
    if let known = latency(index, now: now), known >= elapsed { return }
    learn(index, Double(max(0, elapsed)), now: now)
  }

  /// A request has come back and says nothing about the instance: cancelled, or ended by a limit of our own.
  ///
  /// Like ``finished(_:latency:failed:now:)`` it clears the mark of ``markFull(_:)``: a place has just become free.
  public mutating func released(_ index: Int) {
    precondition(instances[index].inFlight > 0, "a request comes back once")
    instances[index].inFlight -= 1
    if !listings.isEmpty { count(index, -1) }
    instances[index].full = false
  }

  /// Others hold the instance's places: it is skipped until ``clearFull(_:)`` or a request of ours comes back from it.
  public mutating func markFull(_ index: Int) { instances[index].full = true }

  /// Places may be free again at the instance.
  public mutating func clearFull(_ index: Int) { instances[index].full = false }

  /// The instance is in rotation from now on, after a start or a time out of it: begins slow start, forgets the past.
  public mutating func joined(_ index: Int, now: Instant) {
    instances[index].latency = EWMA()
    instances[index].known = false
    instances[index].failuresInRow = 0
    instances[index].credit = 0
    instances[index].full = false
    instances[index].joinedAt = now.nanoseconds
    startingUntil = max(startingUntil, now.advanced(by: slowStart).nanoseconds)
  }

  /// Takes over what another balancer of the same callee has learned: `from` says, by own index, which instance it was.
  ///
  /// What is in flight there comes back there: this one begins with nothing in flight, and by its own settings.
  public mutating func inherit(_ old: Balancer, instances from: [Int?]) {
    typical = old.typical
    typicalKnown = old.typicalKnown
    for (index, was) in from.enumerated() {
      guard let was else { continue }
      instances[index].latency = old.instances[was].latency
      instances[index].known = old.instances[was].known
      instances[index].failuresInRow = old.instances[was].failuresInRow
      instances[index].joinedAt = old.instances[was].joinedAt
      if instances[index].joinedAt >= 0 {
        let grown = Instant(nanoseconds: instances[index].joinedAt).advanced(by: slowStart)
        startingUntil = max(startingUntil, grown.nanoseconds)
      }
    }
  }

  // MARK: Helpers

  /// Whether keys decide: `table == .none` would compare tables.
  var hasAffinity: Bool {
    if case .none = table { return false }
    return true
  }

  /// Whether the instance may get a request, whatever its load.
  func isOpen(_ index: Int, _ tried: Tried, _ limit: Int32) -> Bool {
    instances[index].inFlight < limit && !instances[index].full && !tried.contains(index)
  }

  private func allTried(_ serving: [UInt16], _ tried: Tried) -> Bool {
    // At most four are remembered, so more than four are never all tried.
    if serving.count > 4 { return false }
    for index in serving where !tried.contains(Int(index)) { return false }
    return true
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for (index, instance) in instances.enumerated() {
      if instance.inFlight < 0 { return "\(instance.inFlight) are in flight at instance \(index)" }
      if instance.weight < 1 { return "instance \(index) has no weight" }
      let value = instance.latency.value
      if !value.isFinite || value < 0 { return "instance \(index) has a latency of \(value)" }
      if instance.joinedAt >= 0,
        startingUntil < Instant(nanoseconds: instance.joinedAt).advanced(by: slowStart).nanoseconds
      {
        return "instance \(index) is still starting, but nothing is said to be"
      }
    }
    if let violation = listingViolation() { return violation }
    if !typical.value.isFinite || typical.value < 0 {
      return "the typical latency is \(typical.value)"
    }
    return nil
  }
}
