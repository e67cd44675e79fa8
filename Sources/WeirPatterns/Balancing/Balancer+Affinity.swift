// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// The same key to the same instance: by ring, Maglev table or jump hash.
///
/// The key has an order of instances, the same on every loop and node: along the ring; for Maglev and jump by asking
/// again with the key mixed once more. The first that may be sent a request is taken. So a key whose instance is out of
/// rotation, full or tried goes to its own next one, the keys of one instance spread over all others, **and no other key
/// moves**; when the instance is back, so are its keys. A table is made once, for all instances that are known.
///
/// **Bounded load** (Mirrokni, Thorup and Zadimoghaddam, *Consistent Hashing with Bounded Loads*, SODA 2018; HAProxy's
/// `hash-balance-factor`, Envoy's `hash_balance_factor`): one that has more than `loadMax` times the mean of requests in
/// flight, for its weight, is passed over, so one hot key cannot drown its instance.
///
/// **Slow start**: of the keys of an instance that has joined the first tenth come home at once, then more; which ones
/// depends on the key alone, so each key moves once. The jump hash, which has no weights of its own, holds them by
/// counting a draw for a light instance only now and then.
extension Balancer {
  /// What finds the instance of a key.
  enum Table: Sendable, Equatable {
    case none
    case ring(HashRing)
    case maglev(MaglevTable)
    case jump
  }

  /// What is known of a list of serving instances, so that a pick need not read it.
  struct Listing: Sendable, Equatable {
    var serving: [UInt16]
    var bits: [UInt64]
    var weight: Double
    var inFlight: Int32

    @inline(__always)
    func holds(_ index: Int) -> Bool { bits[index >> 6] & 1 << UInt64(index & 63) != 0 }
  }

  /// As many zones or subsets are known at the same time without making lists anew.
  private static let listingsMax = 16
  /// With half of all passed over, 16 candidates are not enough for 1 key in 2¹⁶; then all are scored.
  private static let candidatesMax = 16

  mutating func homed(
    _ key: UInt64, among serving: [UInt16], excluding tried: Tried, limit: Int32, now: Instant
  ) -> Choice {
    let list = listing(of: serving)
    let mean = loadMax * Double(listings[list].inFlight + 1) / listings[list].weight
    var mixed = KeyedHash.mix(key)
    switch table {
    case .none: break
    case .ring(let ring):
      var place = ring.place(of: mixed)
      var last = -1
      var candidates = 0
      while candidates < Balancer.candidatesMax {
        let index = ring.owner(at: place)
        // Two points in a row of one owner are one candidate.
        if index != last {
          if listings[list].holds(index), isOpen(index, tried, limit), takes(index, key, mean, now) {
            return .instance(index)
          }
          last = index
          candidates += 1
        } else if instances.count == 1 {
          break
        }
        place = ring.place(after: place)
      }
    case .maglev(let maglev):
      for _ in 0..<Balancer.candidatesMax {
        let index = maglev.owner(of: mixed)
        if listings[list].holds(index), isOpen(index, tried, limit), takes(index, key, mean, now) {
          return .instance(index)
        }
        mixed = KeyedHash.mix(mixed)
      }
    case .jump:
      for _ in 0..<Balancer.candidatesMax {
        let index = JumpHash.bucket(mixed, among: instances.count)
        if accepts(index, mixed), listings[list].holds(index), isOpen(index, tried, limit), takes(index, key, mean, now)
        {
          return .instance(index)
        }
        mixed = KeyedHash.mix(mixed)
      }
    }
    return scored(key, among: serving, excluding: tried, limit: limit, mean: mean, now: now)
  }

  /// Whom a key belongs to when all serve; nil without an affinity.
  public func owner(of key: UInt64) -> Int? {
    let mixed = KeyedHash.mix(key)
    switch table {
    case .none: return nil
    case .ring(let ring): return ring.owner(at: ring.place(of: mixed))
    case .maglev(let maglev): return maglev.owner(of: mixed)
    case .jump: return JumpHash.bucket(mixed, among: instances.count)
    }
  }

  /// Whether an open instance should have this key now: within its load, and grown enough for it.
  private func takes(_ index: Int, _ key: UInt64, _ mean: Double, _ now: Instant) -> Bool {
    let instance = instances[index]
    let load = Double(instance.inFlight + 1)
    // ⌈mean × weight⌉ as the paper has it: below one request more than the product.
    if load > loadMin, load >= mean * Double(instance.weight) + 1 { return false }
    if now.nanoseconds < startingUntil {
      let share = slowStartShare(index, now: now)
      if share < 1, !KeyedHash.falls(KeyedHash.mix(key ^ instance.identity), within: share) { return false }
    }
    return true
  }

  /// Whether this draw of the jump hash, which knows no weights, counts for one of this weight.
  ///
  /// Each draw decides anew: a key that is refused at an instance once for all would make light ones lighter.
  private func accepts(_ index: Int, _ mixed: UInt64) -> Bool {
    if evenWeights { return true }
    let share = Double(instances[index].weight) * perHeaviest
    return share >= 1 || KeyedHash.falls(KeyedHash.mix(mixed ^ instances[index].identity), within: share)
  }

  /// The key's choice when its first candidates may not: the highest of a score for each (Thaler and Ravishankar,
  /// *Using Name-Based Mappings to Increase Hit Rates*, 1998), first of those that should, then of those that can.
  private func scored(
    _ key: UInt64, among serving: [UInt16], excluding tried: Tried, limit: Int32, mean: Double, now: Instant
  ) -> Choice {
    var best = -1
    var bestTakes = false
    var bestScore: UInt64 = 0
    for index in serving.lazy.map(Int.init) where isOpen(index, tried, limit) {
      let takes = takes(index, key, mean, now)
      let score = KeyedHash.mix(KeyedHash.mix(key) &+ instances[index].identity)
      if best < 0 || (takes && !bestTakes) || (takes == bestTakes && score > bestScore) {
        best = index
        bestTakes = takes
        bestScore = score
      }
    }
    return best < 0 ? .full : .instance(best)
  }

  // MARK: Lists of serving instances

  /// The place of what is known of a list; made when the list is seen for the first time.
  private mutating func listing(of serving: [UInt16]) -> Int {
    for place in listings.indices where Balancer.isSame(listings[place].serving, serving) { return place }
    // Another array of the same indexes: what is known stays, and is found at once the next time.
    for place in listings.indices where listings[place].serving == serving {
      listings[place].serving = serving
      return place
    }
    var listing = Listing(
      serving: serving, bits: [UInt64](repeating: 0, count: (instances.count + 63) / 64), weight: 0, inFlight: 0)
    for index in serving.lazy.map(Int.init) {
      listing.bits[index >> 6] |= 1 << UInt64(index & 63)
      listing.weight += Double(instances[index].weight)
      listing.inFlight += instances[index].inFlight
    }
    if listings.count < Balancer.listingsMax {
      listings.append(listing)
      return listings.count - 1
    }
    oldestListing = (oldestListing + 1) % Balancer.listingsMax
    listings[oldestListing] = listing
    return oldestListing
  }

  /// The same array, not only an equal one: costs nothing, however long it is.
  private static func isSame(_ a: [UInt16], _ b: [UInt16]) -> Bool { a.span.isIdentical(to: b.span) }

  /// Counts one more or less in flight in each list that has the instance.
  @inline(__always)
  mutating func count(_ index: Int, _ change: Int32) {
    for place in listings.indices where listings[place].holds(index) { listings[place].inFlight += change }
  }

  func listingViolation() -> String? {
    for listing in listings {
      var sum: Int32 = 0
      for index in listing.serving {
        sum += instances[Int(index)].inFlight
        if !listing.holds(Int(index)) { return "instance \(index) serves, but its list does not hold it" }
      }
      if sum != listing.inFlight { return "\(listing.inFlight) are in flight in a list, not \(sum)" }
    }
    return nil
  }
}
