// SPDX-License-Identifier: Apache-2.0
import WeirBase
package import WeirPatterns

extension Status {
  /// How a route's mirror differs from the service that answers.
  package struct Mirror: Sendable, Codable, Equatable {
    package struct Example: Sendable, Codable, Equatable {
      package var difference: String
      package var request: String
      package var given: Int
      /// 0: no answer.
      package var mirrored: Int
      package var givenMs: Double
      package var mirroredMs: Double
    }
    package var route: String
    package var same: UInt64
    package var otherStatus: UInt64
    package var otherBody: UInt64
    package var unanswered: UInt64
    package var skipped: UInt64
    /// Milliseconds, of pairs that were both answered.
    package var givenP50: Double?
    package var mirroredP50: Double?
    package var givenP99: Double?
    package var mirroredP99: Double?
    /// The last ones, oldest first.
    package var examples: [Example]

    package init(route: String, _ report: MirrorReport) {
      func milliseconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e6 }
      self.route = route
      same = report.count(.same)
      otherStatus = report.count(.otherStatus)
      otherBody = report.count(.otherBody)
      unanswered = report.count(.unanswered)
      skipped = report.skipped
      givenP50 = report.given.quantile(0.5).map(milliseconds)
      mirroredP50 = report.mirrored.quantile(0.5).map(milliseconds)
      givenP99 = report.given.quantile(0.99).map(milliseconds)
      mirroredP99 = report.mirrored.quantile(0.99).map(milliseconds)
      examples = report.examples.map { example in
        Example(
          difference: "\(example.difference.name)", request: example.request, given: Int(example.given.status),
          mirrored: Int(example.mirrored.status), givenMs: milliseconds(example.given.duration),
          mirroredMs: milliseconds(example.mirrored.duration))
      }
    }
  }
}
