// SPDX-License-Identifier: Apache-2.0
import WeirBase
public import WeirPatterns

/// What the instances of a callee are beside their number: what they can take, where they stand, what they are known by.
public struct Members: Sendable, Equatable {
  /// By instance; empty: all can take the same.
  public var weights: [Int] = []
  /// Hashes of what instances are known by, so that keys stay with them when others come and go; empty: their number.
  public var identities: [UInt64] = []
  /// By instance: its zone; empty where nobody says.
  public var zones: [Int] = []
  /// The zone that this node stands in, of `zones`; nil: zones share by what they can take.
  public var zone: Int?
  public var zoneChoice = ZoneChoice.Settings()
  /// By instance: asked only when no other serves, or all others have been tried; empty: none is.
  public var backups: [Bool] = []
  /// A request may bring along the instance that it belongs to (``RequestFacts/home``).
  public var isSticky = false
  /// Where they are is found out: until somebody says that one is there it is not.
  public var isDiscovered = false

  public init() {}

  var hasZones: Bool { Set(zones).count > 1 }
}

/// What one request wants of the choice of its instance: nothing, as nearly all, or that it stays with what it knows.
struct Wish: Sendable, Equatable, BitwiseCopyable {
  /// A hash of what shall stay together; 0 for none.
  var key: UInt64 = 0
  /// The instance that it belongs to.
  var home = CallStep.nobody
}

/// Who of a callee's instances may be asked, and in which order: by weight, zone and rank.
///
/// Made anew when those that serve change, never by a request. A callee whose instances are all alike has none.
struct Rotation: Sendable, Equatable {
  private let backups: [Bool]
  private let weights: [Int]
  private let zoneOf: [Int]
  private var groups: InstanceGroups
  private var choice: ZoneChoice
  private let hasZones: Bool
  /// Those that serve: the backups alone when no other does.
  private(set) var active: [UInt16] = []
  /// Backups that serve while others do.
  private(set) var reserve: [UInt16] = []

  init(_ members: Members, count: Int, subset: FlowPlan.Subset? = nil) {
    backups = members.backups
    weights = members.weights.isEmpty ? Array(repeating: 1, count: count) : members.weights
    hasZones = members.hasZones
    zoneOf = hasZones ? members.zones : []
    let zones = hasZones ? (members.zones.max() ?? 0) + 1 : 0
    groups = InstanceGroups(count: zones, groupOf: zoneOf)
    // Backups carry nothing of the load that zones are measured by.
    choice = ZoneChoice(
      members.zoneChoice, own: hasZones ? members.zone : nil,
      listed: Rotation.sums((0..<count).filter { subset?.holds[$0] ?? true }, members.backups, weights, zoneOf, zones))
  }

  private static func sums(
    _ instances: some Sequence<Int>, _ backups: [Bool], _ weights: [Int], _ zoneOf: [Int], _ zones: Int
  ) -> [Int] {
    var sums = [Int](repeating: 0, count: zones)
    if zones == 0 { return sums }
    for i in instances where zoneOf[i] >= 0 && (backups.isEmpty || !backups[i]) { sums[zoneOf[i]] += weights[i] }
    return sums
  }

  mutating func update(serving: [UInt16]) {
    if backups.isEmpty {
      active = serving
    } else {
      let first = serving.filter { !backups[Int($0)] }
      let last = serving.filter { backups[Int($0)] }
      active = first.isEmpty ? last : first
      reserve = first.isEmpty ? [] : last
    }
    guard hasZones else { return }
    groups.update(serving: active)
    choice.update(serving: Rotation.sums(active.map(Int.init), backups, weights, zoneOf, groups.count))
  }

  /// Those of the zone that a call goes to; nil where zones decide nothing.
  @inline(__always)
  func local(_ key: UInt64, using random: inout SeededRandom) -> [UInt16]? {
    guard hasZones, case .zone(let zone) = choice.choose(draw: key == 0 ? random.next() : key) else { return nil }
    return groups.serving(zone)
  }

  /// The share of calls that a zone gets.
  func share(_ zone: Int) -> Double { choice.share(zone) }

  /// Whether first attempts go to an instance at all, as things are.
  func asks(_ instance: UInt16) -> Bool {
    guard active.contains(instance) else { return false }
    return !hasZones || zoneOf[Int(instance)] < 0 || choice.share(zoneOf[Int(instance)]) > 0
  }
}

extension Upstream {
  /// What a call belongs to is there.
  private func hasHome(_ wish: Wish) -> Bool {
    wish.home != CallStep.nobody && (view.serving.contains(wish.home) || view.resting.contains(wish.home))
  }

  /// Whether a call may find out if an instance that serves, and failed last, is well again.
  ///
  /// One that belongs somewhere finds it out there only: what it needs is not elsewhere. Of a zone or a backup that is
  /// asked nothing, nothing need be known.
  @inline(never)
  func mayTry(_ instance: UInt16, _ wish: Wish) -> Bool {
    if hasHome(wish) { return wish.home == instance }
    if wish.key != 0, let owner = balancer.owner(of: wish.key) { return owner == Int(instance) }
    return rotation.asks(instance)
  }

  /// Whether a call may probe an instance that is out of rotation, `due` since then.
  ///
  /// Who has a home goes nowhere else. A key that belongs to the instance finds out first; when none has come for a
  /// second, any other does. Zones and backups are probed whatever is asked of them: one call every half a minute, so that
  /// they are there when they are needed.
  @inline(never)
  func mayProbe(_ instance: UInt16, _ wish: Wish, due: Instant, now: Instant) -> Bool {
    if hasHome(wish) { return wish.home == instance }
    if wish.key != 0, let owner = balancer.owner(of: wish.key) {
      return owner == Int(instance) || now >= due.advanced(by: 1_000_000_000)
    }
    return true
  }

  /// The choice for a callee whose instances are not all alike, or whose requests are not.
  @inline(never)
  mutating func choose(
    _ wish: Wish, excluding tried: Balancer.Tried, now: Instant, using random: inout SeededRandom
  ) -> Balancer.Choice {
    let limit = constants.placesPerInstance
    let home = Int(wish.home)
    if hasHome(wish), !tried.contains(home), balancer.hasPlace(home, limit: limit) { return .instance(home) }
    let key = wish.key == 0 ? nil : wish.key
    if let local = rotation.local(wish.key, using: &random) {
      let choice = balancer.pick(
        among: local, excluding: tried, limit: limit, key: key, now: now, using: &random)
      // What has been tried, or has no place, is made up for in another zone.
      if case .instance(let index) = choice, !tried.contains(index) { return choice }
    }
    let choice = balancer.pick(
      among: rotation.active, excluding: tried, limit: limit, key: key, now: now, using: &random)
    if rotation.reserve.isEmpty || tried.isEmpty { return choice }
    if case .instance(let index) = choice, !tried.contains(index) { return choice }
    // All others have been tried.
    let last = balancer.pick(
      among: rotation.reserve, excluding: tried, limit: limit, key: key, now: now, using: &random)
    if case .instance = last { return last }
    return choice
  }
}
