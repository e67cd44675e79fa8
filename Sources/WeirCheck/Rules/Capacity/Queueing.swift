// SPDX-License-Identifier: Apache-2.0

/// Closed forms of queues.
package enum Queueing {
  /// More workers than any finding is made for; the sum has one step for each.
  private static let workersMax = 1_000_000

  /// The mean wait of M/M/c in the unit of `service`, nil if the queue grows without end or c is too large to sum.
  ///
  /// Erlang, *Solution of some problems in the theory of probabilities of significance in automatic telephone
  /// exchanges* (1917). `load` is rate × service time. Erlang B by its recursion, B(k) = a·B(k−1) / (k + a·B(k−1)),
  /// which cannot overflow; C = B / (1 − ρ(1 − B)); mean wait = C · service / (c − a).
  package static func wait(load a: Double, workers c: Int, service: Double) -> Double? {
    guard a > 0, c > 0, c <= workersMax, a < Double(c) else { return a == 0 ? 0 : nil }
    var b = 1.0
    for k in 1...c { b = a * b / (Double(k) + a * b) }
    let probability = b / (1 - a / Double(c) * (1 - b))
    return probability * service / (Double(c) - a)
  }
}
