// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirCompression
import WeirFlows
import WeirWire

/// Answers compressed on their way.
extension ClientConnection {
  /// Decides on an answer, and drops the lines that would no longer be true.
  func beginCompression(_ upstream: UpstreamConnection, _ rule: CompressionRule, _ work: EdgeWork) {
    let input = upstream.input
    let bytes = input.readableBytesUInt8Span
    work.verdict = rule.judge(bytes, upstream.head, wanted: work.coding)
    work.tag = .empty
    work.variesEncoding = work.verdict == .leave || Vary.has(bytes, upstream.head, "accept-encoding")
    guard work.verdict == .compress || work.verdict == .weaken else { return }
    if case .one(let tag) = Fields(upstream.head).find(bytes, "etag") { work.tag = tag }
    if work.verdict == .weaken {
      upstream.head.drop(bytes, CompressionPolicy.tags)
      return
    }
    // Only the head of it is asked for: it is said how the body would be.
    if upstream.head.framing != .none {
      guard let coding = work.coding.encoder, let encoder = loop.edge.take(coding) else {
        work.verdict = .leaveVarying
        work.tag = .empty
        return
      }
      work.encoder = encoder
      relay = .compress
      // A body whose length is known is done soon; one that grows as it is made may be waited for.
      if case .length = upstream.head.framing { work.flushes = false } else { work.flushes = true }
    }
    upstream.head.drop(bytes, CompressionPolicy.dropped)
  }

  /// The lines that tell of it.
  func appendCompressionFields(_ upstream: UpstreamConnection, _ work: EdgeWork) {
    if !work.variesEncoding { loop.scratch.append("Vary: Accept-Encoding\r\n") }
    guard work.verdict == .compress || work.verdict == .weaken else { return }
    if work.verdict == .compress {
      loop.scratch.append("Content-Encoding: ")
      loop.scratch.append(work.coding.token)
      loop.scratch.append("\r\n")
    }
    if !work.tag.isEmpty {
      let input = upstream.input
      loop.scratch.appendWeakTag(input.readableBytesUInt8Span, work.tag)
    }
  }

  /// Sends on what has come of a body, compressed, as one chunk.
  func relayCompressed(_ upstream: UpstreamConnection, withHead: Bool) -> (Bool, HeadError?) {
    let edge = loop.edge
    var isLast = false
    edge.packed.clear()
    if case .chunked = upstream.head.framing {
      edge.plain.clear()
      // Its data cannot be told from its frame any more.
      watch?.isVoid = true
      let (ended, error) = upstream.takeData(into: &edge.plain)
      if let error { return (true, error) }
      isLast = ended
      guard compress(&edge.plain, edge.plain.readableBytes, isLast) else { return giveUp() }
    } else {
      let (count, ended, error) = upstream.takeBody()
      if let error { return (true, error) }
      isLast = ended
      if let watch { note(upstream, count, watch) }
      keep(upstream, count)
      guard compress(&upstream.input, count, isLast) else { return giveUp() }
      upstream.input.moveReaderIndex(forwardBy: count)
      if upstream.input.readableBytes == 0 { upstream.input = loop.empty }
    }
    writePacked(withHead: withHead, isLast)
    return (isLast, nil)
  }

  /// The instance has closed a body that lasted until then.
  func endCompressed() {
    loop.edge.packed.clear()
    var nothing = loop.empty
    if compress(&nothing, 0, true) { writePacked(withHead: false, true) } else { _ = giveUp() }
  }

  private func compress(_ buffer: inout ByteBuffer, _ count: Int, _ isLast: Bool) -> Bool {
    guard let work = edgeWork, let encoder = work.encoder else { return false }
    let edge = loop.edge
    if count == 0 && !isLast { return true }
    return buffer.withUnsafeReadableBytes { all in
      do throws(StreamEncoder.Failed) {
        try encoder.encode(
          UnsafeRawBufferPointer(rebasing: all[..<count]), isLast ? .end : work.flushes ? .block : .none,
          through: edge.room
        ) { edge.packed.writeBytes($0) }
        return true
      } catch { return false }
    }
  }

  private func writePacked(withHead: Bool, _ isLast: Bool) {
    let edge = loop.edge
    let count = edge.packed.readableBytes
    bodyOut += Int64(count)
    if !withHead { loop.out.clear() }
    if count > 0 {
      loop.scratch.clear()
      loop.scratch.append(hex: UInt64(count))
      loop.scratch.append("\r\n")
      loop.scratch.write(to: &loop.out)
      loop.out.writeBuffer(&edge.packed)
      loop.out.writeStaticString("\r\n")
    }
    if isLast { loop.out.writeStaticString("0\r\n\r\n") }
    if loop.out.readableBytes > 0 { write(loop.out) }
  }

  /// The library has failed: the answer cannot be ended well, and a cut shows.
  private func giveUp() -> (Bool, HeadError?) {
    override = .internalError
    leaveCall(now: loop.now())
    override = nil
    cut()
    return (true, .chunkSize)
  }
}
