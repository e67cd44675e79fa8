// SPDX-License-Identifier: Apache-2.0

/// Least request: of a few at random the one with the fewest of our requests in flight for its weight.
///
/// Source: Envoy's `LEAST_REQUEST` (power of two choices; weights divide the load). It learns nothing of latency: a
/// slow instance gets less only because its requests stay longer. For work that costs about the same everywhere.
extension Balancer {
  func requestCost(_ index: Int) -> Double {
    Double(instances[index].inFlight + 1) * instances[index].perWeight
  }
}
