// SPDX-License-Identifier: Apache-2.0
import NIOCore
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

/// One part on its way: where the bytes of its answer go that a connection would get.
///
/// A part is a call like any other, made by a connection without a socket: breaker, balancer, retries, queue and fallback
/// are the same.
final class PartSink {
  let part: ComposePolicy.Part
  /// Nil when the answer is no longer wanted.
  weak var run: ComposeRun?
  var client: ClientConnection?
  var bytes = ByteBuffer()
  private(set) var isOverlong = false
  /// Why it ended, when the answer is not the callee's own.
  var reason = Reason.none
  var isFallback = false
  var isOver = false

  init(_ part: ComposePolicy.Part, _ run: ComposeRun) {
    self.part = part
    self.run = run
  }

  func receive(_ buffer: ByteBuffer) {
    if isOverlong || isOver { return }
    if bytes.readableBytes + buffer.readableBytes > ComposePolicy.partBytesMax {
      isOverlong = true
      bytes = ByteBuffer()
      client?.cut()
    } else {
      bytes.writeImmutableBuffer(buffer)
    }
  }
}

/// The parts of one request.
final class ComposeRun {
  weak var client: ClientConnection?
  var sinks: [PartSink] = []
  var left = 0
  /// Who asks, for services that keep a client at one instance.
  var clientKey: UInt64 = 0

  init(_ client: ClientConnection) { self.client = client }

  /// Nobody wants the answer any more, or it is known to have failed.
  func cancel() {
    client = nil
    for sink in sinks where !sink.isOver {
      sink.run = nil
      sink.client?.cut()
    }
  }
}
