// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Divides requests over several services by weight, so that one client stays where it is.
///
/// Source: Gateway API's `backendRefs` with weights, Istio's weighted destinations; theirs are drawn anew for each
/// request, ours by a hash of the client's key if it has one.
///
/// The range of all hashes is cut into parts, in the order of the services. From `web: 95, web-next: 5` to `90, 10` only
/// the clients between the two cuts move, all of them to `web-next`: the least there can be for two services. With more
/// than two, changing one weight moves the cuts after it too; put the one that grows last.
///
/// ## Invariants
/// 1. The share of a service is its weight ÷ the sum of weights, to one part in 2⁶³; weight 0 gets nothing.
/// 2. The same key and weights give the same service, on every node.
public struct WeightedSplit: Sendable, Equatable {
  /// The upper end of each service's part but the last with a weight, which takes the rest.
  private var ends: [UInt64] = []
  private let salt: UInt64
  private let last: Int

  /// Weights from 0 to 1 000 000, not all 0.
  ///
  /// `salt` is of the route (a hash of its name): else the clients in the first 5 % would be guinea pigs on every route.
  public init(weights: [Int], salt: UInt64) {
    let weights = weights.map { UInt64(max(0, min($0, 1_000_000))) }
    precondition(weights.contains { $0 > 0 }, "a split needs a weight above 0")
    self.salt = KeyedHash.mix(salt)
    let sum = weights.reduce(0, +)
    last = weights.lastIndex { $0 > 0 } ?? 0
    var reached: UInt64 = 0
    for weight in weights {
      reached += weight
      // 2⁶⁴ × reached ÷ sum, as an exact division of 128 bits by 64; the end of all does not fit.
      ends.append(reached >= sum ? .max : sum.dividingFullWidth((high: reached, low: 0)).quotient)
    }
  }

  public var count: Int { ends.count }

  /// The index of the service for a client's key, a hash of its cookie, header or address.
  public func choose(key: UInt64) -> Int { part(KeyedHash.mix(key ^ salt)) }

  /// The index of the service for a request without a key.
  public func choose(using random: inout SeededRandom) -> Int { part(random.next()) }

  private func part(_ draw: UInt64) -> Int {
    for index in 0..<last where draw < ends[index] { return index }
    return last
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for index in ends.indices.dropFirst() where ends[index] < ends[index - 1] { return "part \(index) is negative" }
    return nil
  }
}
