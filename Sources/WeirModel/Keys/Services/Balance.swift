// SPDX-License-Identifier: Apache-2.0
package import WeirPatterns

/// Which instance a request goes to: the word for the balancer's algorithm.
package enum Balance: String, Sendable, CaseIterable {
  case peakEWMA = "peak-ewma"
  case leastRequest = "least-request"
  case roundRobin = "round-robin"

  init(_ algorithm: Balancer.Algorithm) {
    switch algorithm {
    case .peakEWMA: self = .peakEWMA
    case .leastRequest: self = .leastRequest
    case .roundRobin: self = .roundRobin
    }
  }

  package var algorithm: Balancer.Algorithm {
    switch self {
    case .peakEWMA: .peakEWMA
    case .leastRequest: .leastRequest
    case .roundRobin: .roundRobin
    }
  }
}

/// How requests are spread over instances, beside the algorithm.
package struct Balancing: Sendable, Equatable {}

/// The keys of a service that say how requests are spread over its instances, beside `balance`.
enum BalanceKeys {
  static let fields: [Field<Balancing>] = []
}
