// SPDX-License-Identifier: Apache-2.0

/// Prefers the caller's own zone while that can carry its share, spills only what is too much, and fails over.
///
/// Source: Envoy's zone-aware routing and locality-weighted balancing (`overprovisioning_factor` 1.4).
///
/// Of all calls a share dᶻ comes from zone z, and zone z has a share uᶻ of all capacity. A caller in z keeps min(1, uᶻ ÷
/// dᶻ) of its calls at home and gives the rest to the zones with capacity to spare, in proportion to u − d of each.
///
///     capacity of a zone = its listed weight × min(1, 1.4 × share of it that serves)
///     below `failover`  = 0: a zone that is nearly gone is not asked at all
///
/// With half of the instances of one of three equal zones gone, that zone has 0.7 of its capacity: its callers keep 78 %
/// of their calls; with more than half gone they keep none.
///
/// ## Invariants
/// 1. The shares of a caller sum to 1, if anything serves; a zone where nothing serves has share 0.
/// 2. If callers in all zones choose so, each zone gets exactly its share of capacity: no zone is overloaded by
///    preferring it.
/// 3. Nothing crosses a zone that need not: a zone that can carry its callers sends nothing away.
public struct ZoneChoice: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How much more than its part a serving instance can take: below 1 ÷ 1.4 = 71 % serving a zone sheds.
    ///
    /// 1.4: Envoy's `overprovisioning_factor`.
    public var overprovision = 1.4
    /// A zone with a lower share of serving instances is taken to be failed.
    ///
    /// 0.5: Envoy's `healthy_panic_threshold`, below which it does not trust a zone either.
    public var failover = 0.5

    public init() {}
  }

  public enum Choice: Sendable, Equatable {
    case zone(Int)
    /// Nothing serves anywhere.
    case none
  }

  private let settings: Settings
  /// The caller's zone, −1 for none: then zones are chosen by capacity alone.
  private let own: Int
  private let listed: [Double]
  private let demand: [Double]
  private var shares: [Double]
  /// Upper ends of the zones' parts of all draws; the last with a share takes what rounding leaves.
  private var ends: [UInt64]
  private var last = -1

  /// `listed` is the weight of all instances of each zone, serving or not.
  ///
  /// `callers` is how many callers (nodes) are in each zone; nil when that is not known: as many as the zone has weight.
  public init(_ settings: Settings = Settings(), own: Int?, listed: [Int], callers: [Int]? = nil) {
    precondition(callers == nil || callers?.count == listed.count, "one number of callers a zone")
    precondition(own.map { $0 >= 0 && $0 < listed.count } ?? true, "the own zone is one of them")
    self.settings = settings
    self.own = own ?? -1
    self.listed = listed.map { Double(max(0, $0)) }
    let counts = (callers ?? listed).map { Double(max(0, $0)) }
    let sum = counts.reduce(0, +)
    demand = counts.map { sum > 0 ? $0 / sum : 0 }
    shares = [Double](repeating: 0, count: listed.count)
    ends = [UInt64](repeating: 0, count: listed.count)
    update(serving: listed)
  }

  // MARK: Questions

  /// The share of this caller's calls that goes to a zone.
  public func share(_ zone: Int) -> Double { shares[zone] }

  /// The zone of a call; `draw` is uniform over all values: `random.next()`, or for calls with a key its hash, so that
  /// they stay in their zone.
  public func choose(draw: UInt64) -> Choice {
    if last < 0 { return .none }
    // Nearly all stay at home.
    if own >= 0, shares[own] >= 1 { return .zone(own) }
    for zone in 0..<last where draw < ends[zone] { return .zone(zone) }
    return .zone(last)
  }

  // MARK: Inputs

  /// The weight of the serving instances of each zone has changed.
  public mutating func update(serving: [Int]) {
    let capacity = capacities(serving)
    let sum = capacity.reduce(0, +)
    last = -1
    for zone in shares.indices { shares[zone] = 0 }
    if sum <= 0 { return }
    var kept = 0.0
    if own >= 0 {
      let part = capacity[own] / sum
      kept = part <= 0 ? 0 : demand[own] <= 0 ? 1 : min(1, part / demand[own])
      // Rounding must not send one of 10¹⁶ away.
      if kept > 1 - 1e-9 { kept = 1 }
      shares[own] = kept
    }
    var spare = 0.0
    for zone in shares.indices where zone != own { spare += spareCapacity(zone, capacity, sum) }
    for zone in shares.indices where zone != own && kept < 1 {
      // Nobody has anything to spare: by capacity then.
      shares[zone] =
        (1 - kept)
        * (spare > 1e-12
          ? spareCapacity(zone, capacity, sum) / spare : capacity[zone] / (sum - (own >= 0 ? capacity[own] : 0)))
    }
    var reached = 0.0
    for zone in shares.indices {
      reached += shares[zone]
      ends[zone] = reached >= 1 ? .max : UInt64(reached * 0x1p64)
      if shares[zone] > 0 { last = zone }
    }
  }

  /// What a zone can take; if all have failed, whatever serves.
  private func capacities(_ serving: [Int]) -> [Double] {
    var result = [Double](repeating: 0, count: listed.count)
    var any = false
    for zone in listed.indices where listed[zone] > 0 && serving[zone] > 0 {
      let share = Double(serving[zone]) / listed[zone]
      if share < settings.failover { continue }
      result[zone] = listed[zone] * min(1, settings.overprovision * share)
      any = true
    }
    return any ? result : serving.map { Double(max(0, $0)) }
  }

  /// The capacity a zone has beyond its own callers; without an own zone all of it is for everybody.
  private func spareCapacity(_ zone: Int, _ capacity: [Double], _ sum: Double) -> Double {
    own < 0 ? capacity[zone] / sum : max(0, capacity[zone] / sum - demand[zone])
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    let sum = shares.reduce(0, +)
    if last >= 0, abs(sum - 1) > 1e-9 { return "the shares sum to \(sum)" }
    for share in shares where !(share >= 0 && share <= 1) { return "a share of \(share)" }
    return nil
  }
}
