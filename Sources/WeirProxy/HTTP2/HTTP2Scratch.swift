// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHPACK
import WeirWire

/// What the streams of a loop use in turn to turn fields into heads and heads into fields.
final class HTTP2Scratch {
  var request = H2Request()
  var response = H2Response()
  var trailers = H2Trailers()
  var fields = H2FieldList()
  var out = HeadBuffer(capacity: 8 << 10)

  /// What was written to `out`, as a buffer of its own.
  func taken(_ allocator: ByteBufferAllocator) -> ByteBuffer {
    var buffer = allocator.buffer(capacity: out.count)
    out.write(to: &buffer)
    return buffer
  }
}

extension String {
  /// The bytes of a field's name or value; HPACK's decoder makes native strings, whose bytes lie in one piece.
  @inline(__always)
  func withBytes<R>(_ body: (Span<UInt8>) -> R) -> R {
    if let result = utf8.withContiguousStorageIfAvailable({ body($0.span) }) { return result }
    return body(Array(utf8).span)
  }
}

extension H2FieldList {
  /// The list as NIOHTTP2 takes it.
  ///
  /// A connection to an instance carries many clients' requests: what one must not learn of another by the size of the
  /// compressed head stays out of the shared table (RFC 7541 §7.1.3), and so does what is new each time.
  func headers() -> HPACKHeaders {
    var headers = HPACKHeaders()
    headers.reserveCapacity(count)
    let bytes = storage
    for index in 0..<count {
      let name = String(decoding: bytes[name(index)], as: UTF8.self)
      let indexing: HPACKIndexing =
        switch name {
        case "authorization", "cookie", "set-cookie", "proxy-authorization": .neverIndexed
        case ":path", "traceparent", "tracestate", "content-length", "etag", "weir-deadline", "date",
          "x-forwarded-for", "grpc-timeout":
          .nonIndexable
        default: .indexable
        }
      headers.add(name: name, value: String(decoding: bytes[value(index)], as: UTF8.self), indexing: indexing)
    }
    return headers
  }

  /// The value of the first field of this name, which is in lower case.
  func find(_ wanted: StaticString) -> Range<Int>? {
    let bytes = storage.span
    for index in 0..<count {
      let range = name(index)
      guard range.count == wanted.utf8CodeUnitCount else { continue }
      if bytes.extracting(range).equals(wanted) { return value(index) }
    }
    return nil
  }
}

extension Span<UInt8> {
  func equals(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    for i in 0..<count where self[i] != text.utf8Start[i] { return false }
    return true
  }

  /// As ``equals(_:)`` for the first bytes.
  func begins(with text: StaticString) -> Bool {
    count >= text.utf8CodeUnitCount && extracting(0..<text.utf8CodeUnitCount).equals(text)
  }
}

extension ByteBuffer {
  /// How long the head at the start is, its empty line included; nil when it is not whole.
  var headLength: Int? {
    let bytes = readableBytesUInt8Span
    var i = 3
    while i < bytes.count {
      // Every fourth byte at most is looked at: the end is made of two kinds only.
      switch bytes[i] {
      case 0x0a:
        if bytes[i - 1] == 0x0d && bytes[i - 2] == 0x0a && bytes[i - 3] == 0x0d { return i + 1 }
        i += 2
      case 0x0d: i += 1
      default: i += 4
      }
    }
    return nil
  }

  /// A chunk of HTTP/1.1 around data, or the data as it is.
  func framed(asChunk: Bool, _ allocator: ByteBufferAllocator) -> ByteBuffer {
    guard asChunk else { return self }
    var chunk = allocator.buffer(capacity: readableBytes + 12)
    chunk.writeString(String(readableBytes, radix: 16))
    chunk.writeStaticString("\r\n")
    chunk.writeImmutableBuffer(self)
    chunk.writeStaticString("\r\n")
    return chunk
  }
}
