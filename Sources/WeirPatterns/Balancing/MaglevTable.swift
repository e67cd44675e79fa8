// SPDX-License-Identifier: Apache-2.0

/// Maglev's lookup table: as even as can be, and one read a key.
///
/// Source: Eisenbud and others, *Maglev: A Fast and Reliable Software Network Load Balancer*, NSDI 2016, §3.4. Each
/// backend has its own order of preference over all slots (a start and a stride; the number of slots is prime, so every
/// stride visits all). In turn each takes its next free slot until none is free. With equal weights every backend owns
/// ⌊M ÷ n⌋ or ⌈M ÷ n⌉ of M slots.
///
/// Weights as Envoy has them: the heaviest takes a slot in each turn, others in their proportion of turns.
///
/// What could surprise: a new table for one backend less moves some keys of the others too. ``Balancer`` therefore keeps
/// the table while instances are out of rotation, and only a changed list makes a new one.
public struct MaglevTable: Sendable, Equatable {
  /// Where a backend begins, and how far its next preference lies.
  public struct Preference: Sendable, Equatable, BitwiseCopyable {
    public var offset: Int
    public var skip: Int

    public init(offset: Int, skip: Int) {
      self.offset = offset
      self.skip = skip
    }
  }

  /// Envoy's limit for its table.
  static let slotsMax = 5_000_011

  private var slots: [UInt16] = []

  /// A table for backends known by identities; `slots` is raised to a prime, and above the number of backends.
  public init(identities: [UInt64], weights: [Int]? = nil, slots wanted: Int) {
    precondition(identities.count < 65_535, "an instance's index has 16 bits")
    let count = MaglevTable.prime(from: min(MaglevTable.slotsMax, max(wanted, identities.count, 2)))
    // By identity, so that all who know the same backends make the same table, whatever order they know them in.
    let order = identities.indices.sorted { identities[$0] < identities[$1] }
    let preferences = order.map { index in
      Preference(
        offset: Int(KeyedHash.mix(identities[index]) % UInt64(count)),
        skip: Int(KeyedHash.mix(~identities[index]) % UInt64(count - 1)) + 1)
    }
    let weights = weights.map { weights in order.map { weights[$0] } }
    let positions = MaglevTable.filled(preferences, weights, count)
    slots = positions.map { UInt16(order[Int($0)]) }
  }

  /// A table for given preferences, in the order of the turns; `slots` is prime.
  public init(_ preferences: [Preference], weights: [Int]? = nil, slots count: Int) {
    slots = MaglevTable.filled(preferences, weights, count)
  }

  private static func filled(_ preferences: [Preference], _ weights: [Int]?, _ count: Int) -> [UInt16] {
    if preferences.isEmpty { return [] }
    var slots = [UInt16](repeating: .max, count: count)
    var next = preferences.map(\.offset)
    let heaviest = weights?.max() ?? 1
    var due = [Int](repeating: 0, count: preferences.count)
    var left = count
    var turn = 0
    while true {
      turn += 1
      for index in preferences.indices {
        // The heaviest is always due; one of half its weight in every second turn.
        if let weights {
          if turn * weights[index] < due[index] { continue }
          due[index] += heaviest
        }
        while slots[next[index]] != .max { step(&next[index], preferences[index].skip, count) }
        slots[next[index]] = UInt16(index)
        step(&next[index], preferences[index].skip, count)
        left -= 1
        if left == 0 { return slots }
      }
    }
  }

  private static func step(_ place: inout Int, _ skip: Int, _ count: Int) {
    place += skip
    if place >= count { place -= count }
  }

  /// The least prime from `number` on.
  static func prime(from number: Int) -> Int {
    var candidate = max(2, number)
    while true {
      var divisor = 2
      var isPrime = true
      while divisor * divisor <= candidate {
        if candidate % divisor == 0 {
          isPrime = false
          break
        }
        divisor += 1
      }
      if isPrime { return candidate }
      candidate += 1
    }
  }

  public var count: Int { slots.count }

  /// Who owns a slot.
  public subscript(_ slot: Int) -> Int { Int(slots[slot]) }

  /// Who owns the slot of a mixed key; the table is not empty.
  public func owner(of position: UInt64) -> Int {
    Int(slots[Int(position.multipliedFullWidth(by: UInt64(slots.count)).high)])
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? { slots.contains(.max) ? "a slot is free" : nil }
}
