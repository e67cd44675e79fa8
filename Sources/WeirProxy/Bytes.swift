// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirWire

// The meeting of NIO's buffers and the scanners' spans: a span lives within one call, so each use is one of these.
// Buffers come in `inout` though most are only read: a connection's buffer that is passed by value is counted up and down,
// which are two atomic operations.

extension ByteBuffer {
  /// Appends the first `count` readable bytes of another buffer, which stays as it is.
  @inline(__always)
  mutating func writePrefix(of other: inout ByteBuffer, _ count: Int) { writePart(of: &other, 0..<count) }

  /// Appends a run of another buffer's readable bytes.
  @inline(__always)
  mutating func writePart(of other: inout ByteBuffer, _ run: Range<Int>) {
    other.readableBytesUInt8Span.extracting(run).withUnsafeBytes { copy($0) }
  }

  /// Appends bytes: NIO's own ways for spans and raw buffers take three times the instructions for a few hundred bytes.
  @inline(__always)
  fileprivate mutating func copy(_ bytes: UnsafeRawBufferPointer) {
    writeWithUnsafeMutableBytes(minimumWritableBytes: bytes.count) { room in
      // There is room for all of it, by the line above.
      room.copyMemory(from: bytes)
      return bytes.count
    }
  }
}

extension HeadBuffer {
  /// Appends what has been written to a buffer.
  @inline(__always)
  func write(to buffer: inout ByteBuffer) {
    storage.span.extracting(0..<count).withUnsafeBytes { buffer.copy($0) }
  }
}

extension ChunkedScanner {
  @inline(__always)
  mutating func skip(_ buffer: inout ByteBuffer, from at: inout Int) -> Event {
    skip(buffer.readableBytesUInt8Span, from: &at)
  }

  @inline(__always)
  mutating func next(_ buffer: inout ByteBuffer, from at: inout Int) -> Event {
    next(buffer.readableBytesUInt8Span, from: &at)
  }
}

extension RequestScanner {
  @inline(__always)
  mutating func scan(
    _ buffer: inout ByteBuffer, from sender: Sender, limits: HeadLimits, into head: inout RequestHead
  ) -> HeadOutcome { scan(buffer.readableBytesUInt8Span, from: sender, limits: limits, into: &head) }
}

extension ResponseScanner {
  @inline(__always)
  mutating func scan(
    _ buffer: inout ByteBuffer, toHead: Bool, limits: HeadLimits, into head: inout ResponseHead
  ) -> HeadOutcome { scan(buffer.readableBytesUInt8Span, toHead: toHead, limits: limits, into: &head) }
}

extension HeadBuffer {
  @inline(__always)
  mutating func appendResponse(_ buffer: inout ByteBuffer, _ head: ResponseHead) {
    appendResponse(buffer.readableBytesUInt8Span, head)
  }
}

extension ResponseHead {
  mutating func drop(_ buffer: inout ByteBuffer, _ names: FieldNames) {
    drop(buffer.readableBytesUInt8Span, names)
  }
}

extension CallNames {
  func edge(_ buffer: ByteBuffer, _ path: Run) -> (edge: Int, rest: Int)? {
    edge(buffer.readableBytesUInt8Span, path)
  }
}
