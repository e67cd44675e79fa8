// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHPACK
import NIOHTTP2
import WeirWire

/// The body of a message that goes out along a stream, on either side: bytes of HTTP/1.1 in, frames of DATA out.
///
/// It waits for nothing and keeps no byte: what the peer's window does not take yet waits in NIOHTTP2, and makes the stream
/// not writable.
///
/// ## Invariants
/// 1. The last frame, and no other, ends the stream: of a body that is empty an empty one, with trailers their HEADERS.
/// 2. Nothing is written behind it.
struct HTTP2Body {
  enum Progress { case more, ended, broken }

  private var pieces = BodyPieces()

  mutating func begin(_ framing: Framing) { pieces.begin(framing) }

  /// Writes what of the body the buffer holds, and takes it out.
  ///
  /// `last` is called right before the frame that ends the stream is written: who waits for that.
  mutating func write(
    _ buffer: inout ByteBuffer, to context: ChannelHandlerContext, _ scratch: HTTP2Scratch,
    last: () -> EventLoopPromise<Void>?
  ) -> Progress {
    // One piece behind, so that the last one carries the end of the stream.
    var held: ByteBuffer?
    while true {
      switch pieces.next(&buffer) {
      case .data(let part):
        if let held { HTTP2Body.write(held, to: context) }
        held = part
      case .more:
        if let held { HTTP2Body.write(held, to: context) }
        return .more
      case .end:
        guard pieces.hasTrailers else {
          let data = held ?? context.channel.allocator.buffer(capacity: 0)
          let frame = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(data), endStream: true))
          context.write(NIOAny(frame), promise: last())
          return .ended
        }
        if let held { HTTP2Body.write(held, to: context) }
        let trailers = pieces.trailers
        guard scratch.fields.trailers(trailers.readableBytesUInt8Span) else { return .broken }
        let frame = HTTP2Frame.FramePayload.headers(.init(headers: scratch.fields.headers(), endStream: true))
        context.write(NIOAny(frame), promise: last())
        return .ended
      case .broken: return .broken
      }
    }
  }

  private static func write(_ data: ByteBuffer, to context: ChannelHandlerContext) {
    context.write(NIOAny(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(data)))), promise: nil)
  }
}

/// Takes the data and the trailers of a body out of the framing of HTTP/1.1.
private struct BodyPieces {
  enum Piece { case data(ByteBuffer), more, end, broken }

  private var left: Int64 = 0
  private var isChunked = false
  private var chunks = ChunkedScanner()
  private var trailerBytes = 0
  /// From behind the last chunk's line to the empty line.
  private(set) var trailers = ByteBuffer()

  /// There is more than the empty line.
  var hasTrailers: Bool { trailers.readableBytes > 2 }

  mutating func begin(_ framing: Framing) {
    left = 0
    isChunked = false
    trailerBytes = 0
    trailers.clear()
    switch framing {
    case .none, .untilClose: break
    case .length(let length): left = length
    case .chunked:
      isChunked = true
      chunks.clear()
    }
  }

  /// What comes next; takes it out of the buffer.
  mutating func next(_ buffer: inout ByteBuffer) -> Piece {
    guard isChunked else {
      if left == 0 { return .end }
      let count = Int(min(Int64(buffer.readableBytes), left))
      guard count > 0, let part = buffer.readSlice(length: count) else { return .more }
      left -= Int64(count)
      return .data(part)
    }
    if buffer.readableBytes == 0 { return .more }
    var at = 0
    let event = chunks.next(&buffer, from: &at)
    let new = chunks.trailerBytes - trailerBytes
    if new > 0 {
      trailerBytes += new
      trailers.writePart(of: &buffer, (at - new)..<at)
    }
    switch event {
    case .data(let run):
      let part = buffer.getSlice(at: buffer.readerIndex + run.lowerBound, length: run.count)
      buffer.moveReaderIndex(forwardBy: at)
      return part.map { .data($0) } ?? .broken
    case .needMore:
      buffer.moveReaderIndex(forwardBy: buffer.readableBytes)
      return .more
    case .end(let end):
      buffer.moveReaderIndex(forwardBy: end)
      return .end
    case .refused: return .broken
    }
  }
}
