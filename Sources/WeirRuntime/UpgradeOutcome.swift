// SPDX-License-Identifier: Apache-2.0

/// The body of `POST /upgrade`.
struct UpgradeOrder: Codable {
  /// An absolute path.
  var binary: String
}

/// What came of an upgrade: the answer of `POST /upgrade` and of `weir upgrade`.
package struct UpgradeOutcome: Sendable, Codable, Equatable {
  package enum Result: String, Sendable, Codable {
    case upgraded
    /// Everything goes on as it was; `errors` say why.
    case refused
  }

  package struct Side: Sendable, Codable, Equatable {
    package var version: String
    /// Of its plane.
    package var pid: Int32
    package var binary: String
  }

  package var schema = 1
  package var result: Result
  /// What served before.
  package var from: Side
  /// What serves now.
  package var to: Side?
  /// A sentence each.
  package var errors: [String] = []
  /// From the wish to the new plane's first request, in milliseconds.
  package var milliseconds: Double?

  package var isRefused: Bool { result == .refused }

  init(_ result: Result, from: Side) {
    self.result = result
    self.from = from
  }
}
