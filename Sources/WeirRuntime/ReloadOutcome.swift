// SPDX-License-Identifier: Apache-2.0

/// What came of reading the file again: the answer of `POST /reload` and of `weir reload`.
package struct ReloadOutcome: Sendable, Codable, Equatable {
  package enum Result: String, Sendable, Codable {
    /// The content is the one that runs.
    case unchanged
    case reloaded
    /// Nothing has changed; `errors` say why.
    case refused
  }

  package var schema = 1
  package var result: Result
  /// Of the content that runs now.
  package var hash: String
  /// A sentence each, with file, line and column where there is one.
  package var errors: [String] = []
  /// What follows, a sentence each.
  package var changes: [String] = []
  /// From the beginning of reading to the first request by the new plan, in milliseconds.
  package var milliseconds: Double?

  package var isRefused: Bool { result == .refused }

  package init(_ result: Result, hash: String) {
    self.result = result
    self.hash = hash
  }
}
