// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// The instances behind a name: which address has which place, and when the name is asked again.
///
/// Source: Envoy's strict DNS clusters, HAProxy's `server-template` with resolvers. There are as many places as there may be
/// instances; each holds one address or none. A name that cannot be answered changes nothing: an old address is better than
/// none, for most failures are the resolver's.
///
///     vacant ──an answer has a new address──▶ held ──an answer is without it──▶ vacant
/// With `most` 1 it follows the one address of an instance: it stays as long as answers have it, whatever their order.
///
/// The driver asks the name at `nextWake`, says so (`asked`), and brings the answer (`answered`) or its absence (`failed`).
///
/// ## Invariants
/// 1. An address holds one place, the same as long as every answer has it.
/// 2. At most one question is out.
/// 3. Only an answer with at least one address vacates a place.
public struct DiscoveredInstances: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How often the name is asked.
    ///
    /// Resolvers in front of us hold answers for 5 … 30 s (CoreDNS of Kubernetes: 30 s).
    public var every = Duration.seconds(30)
    /// The pause after the first question without an answer; it doubles up to `every`.
    public var retry = Duration.seconds(1)
    /// How many instances there may be; what an answer has beyond is left out.
    ///
    /// Each costs about 300 bytes a caller and loop, whether there or not.
    public var most = 64
    /// The share by which chance lengthens or shortens a pause, so that nodes do not ask together.
    public var jitter = 0.1

    public init() {}
  }

  public enum Change: Sendable, Equatable {
    /// The address listens here from now on: a new instance.
    case joined(place: Int, address: String)
    /// It is to get nothing new, and ends what it has.
    case left(place: Int, address: String)
  }

  /// What an answer means.
  public struct Outcome: Sendable, Equatable {
    /// Those that leave first.
    public var changes: [Change] = []
    /// Addresses for which there is no place.
    public var leftOut = 0
    /// The questions before had no answer.
    public var isBack = false
  }

  private var every: Int64
  private var retry: Int64
  private var jitter: Double
  /// By place.
  public private(set) var addresses: [String?]
  /// Questions without an answer in a row.
  public private(set) var failures = 0
  /// Some question has been settled.
  public private(set) var isSettled = false
  private var isOut = false
  private var next: Instant

  public init(_ settings: Settings = Settings(), now: Instant = .zero) {
    every = max(1, settings.every.inNanoseconds)
    retry = min(max(1, settings.retry.inNanoseconds), every)
    jitter = min(max(0, settings.jitter), 1)
    addresses = Array(repeating: nil, count: max(1, settings.most))
    next = now
  }

  /// Begins with an address in the first place that somebody has found out already; asked next after a whole pause.
  public init(_ settings: Settings, holding address: String, now: Instant, using random: inout SeededRandom) {
    self.init(settings, now: now)
    addresses[0] = address
    settle(pause: every, now: now, using: &random)
  }

  // MARK: Asking

  /// When the name is to be asked; nil while a question is out.
  public var nextWake: Instant? { isOut ? nil : next }

  /// Places that are held.
  public var count: Int { addresses.reduce(0) { $0 + ($1 == nil ? 0 : 1) } }

  // MARK: Inputs

  /// The question is out.
  public mutating func asked() { isOut = true }

  /// The name stands for these addresses, in any order; none is no answer.
  public mutating func answered(
    _ found: [String], now: Instant, using random: inout SeededRandom
  ) -> Outcome {
    if found.isEmpty {
      failed(now: now, using: &random)
      return Outcome()
    }
    var outcome = Outcome()
    outcome.isBack = failures > 0
    settle(pause: every, now: now, using: &random)
    failures = 0
    let wanted = Set(found)
    var vacated: Set<Int> = []
    for (place, address) in addresses.enumerated() {
      guard let address, !wanted.contains(address) else { continue }
      addresses[place] = nil
      vacated.insert(place)
      outcome.changes.append(.left(place: place, address: address))
    }
    let held = Set(addresses.compactMap { $0 })
    for address in wanted.subtracting(held).sorted() {
      guard let place = vacantPlace(for: address, after: vacated) else {
        outcome.leftOut += 1
        continue
      }
      addresses[place] = address
      outcome.changes.append(.joined(place: place, address: address))
    }
    return outcome
  }

  /// The name cannot be answered now: everything stays as it is, and it is asked again soon.
  public mutating func failed(now: Instant, using random: inout SeededRandom) {
    var pause = retry
    for _ in 0..<min(failures, 62) where pause < every { pause = min(every, pause.saturatingAdd(pause)) }
    failures = min(failures + 1, 1_000_000)
    settle(pause: pause, now: now, using: &random)
  }

  /// The same places by other settings, but for how many there are.
  public func moved(to settings: Settings) -> DiscoveredInstances {
    var new = self
    let other = DiscoveredInstances(settings)
    (new.every, new.retry, new.jitter) = (other.every, other.retry, other.jitter)
    return new
  }

  // MARK: Helpers

  private mutating func settle(pause: Int64, now: Instant, using random: inout SeededRandom) {
    isOut = false
    isSettled = true
    let swing = Int64(Double(pause) * jitter)
    next = now.advanced(by: max(1, pause - swing).saturatingAdd(random.nanoseconds(upTo: swing.saturatingAdd(swing))))
  }

  /// The first vacant place from where the address belongs: so nodes that have seen other changes agree about most.
  ///
  /// One that has just been vacated is the last choice, for its requests may end first.
  private func vacantPlace(for address: String, after vacated: Set<Int>) -> Int? {
    let hash = KeyedHash(secret: 0x6469_7363_6f76_6572, 0x6564).hash(address)
    let start = Int(hash % UInt64(addresses.count))
    var second: Int?
    for step in addresses.indices {
      let place = (start + step) % addresses.count
      guard addresses[place] == nil else { continue }
      if !vacated.contains(place) { return place }
      if second == nil { second = place }
    }
    return second
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    let held = addresses.compactMap { $0 }
    if Set(held).count != held.count { return "an address holds two places" }
    if failures > 0 && !isSettled { return "\(failures) failures of no question" }
    return nil
  }
}
