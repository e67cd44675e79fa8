// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirWire

/// An answer made of several calls.
package struct ComposePolicy: Sendable {
  package struct Part: Sendable {
    var name: [UInt8]
    /// Along which it is called.
    var edge: Int
    var path: [UInt8]
    var isOptional: Bool

    package init(name: String, edge: Int, path: String, isOptional: Bool) {
      self.name = Array(name.utf8)
      self.edge = edge
      self.path = Array(path.utf8)
      self.isOptional = isOptional
    }
  }

  let parts: [Part]
  /// How long all of it may take; nil for what each call may.
  let timeout: Int64?

  package init(parts: [Part], timeout: Duration?) {
    self.parts = parts
    self.timeout = timeout?.inNanoseconds
  }

  /// Bytes of one part's answer; a larger one has failed.
  ///
  /// With 16 parts a request holds at most 16 MiB.
  static let partBytesMax = 1 << 20
  /// What is said of the whole is not passed on to its parts: conditions, ranges and codings of another body.
  static let dropped = FieldNames.ours([
    "accept-encoding", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range",
    "content-length", "content-type", "content-encoding", "expect", "transfer-encoding", "origin",
  ])
}

/// The parts of one request.
final class ComposeRun {
  weak var client: ClientConnection?
  let parts: [ComposePolicy.Part]
  /// By part.
  var calls: [InnerCall] = []
  var left = 0

  init(_ client: ClientConnection, _ parts: [ComposePolicy.Part]) {
    self.client = client
    self.parts = parts
    left = parts.count
  }

  /// Nobody wants the answer any more, or it is known to have failed.
  func cancel() {
    client = nil
    for call in calls { call.cancel() }
  }
}
