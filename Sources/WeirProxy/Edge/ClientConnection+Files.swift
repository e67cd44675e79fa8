// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirWire

/// One file on its way to a client; read piece by piece off the loop, as fast as the client takes it.
///
/// Confined to its loop but for the descriptor, which one reader at a time has.
final class FileStream {
  let descriptor: Descriptor
  var at: Int64
  let end: Int64
  var isReading = false

  init(_ descriptor: Descriptor, _ range: Range<Int64>) {
    self.descriptor = descriptor
    at = range.lowerBound
    end = range.upperBound
  }
}

/// Files that the gateway gives out by itself.
extension ClientConnection {
  /// Looks for the file that a request names, off the loop, and answers when it is found.
  func answerByFile(_ policy: FilesPolicy, now: Instant) {
    guard head.method == .get || head.method == .head else {
      return refuse(.methodNotAllowed, allowed: [.get, .head], now: now)
    }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    guard let path = FilePath.relative(bytes, head.path, skip: policy.skip) else { return refuse(.noRoute, now: now) }
    // The route's own folder without its slash: its pages' relative links would lead elsewhere.
    let isBare = path.isEmpty && bytes[head.path.range.upperBound - 1] != 0x2f
    let codings = wantedCodings(bytes)
    let own = input.getSlice(at: input.readerIndex, length: head.length) ?? ByteBuffer()
    let request = head
    prepareAnswerLines()
    takeHead()
    answer = .none
    loop.silentAt[Int(place)] = now.nanoseconds + loop.times.answerIdle
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    let ticket = edgeWork?.ticket ?? 0
    NIOThreadPool.singleton.runIfActive(eventLoop: loop.eventLoop) {
      isBare ? .folder : policy.find(path, codings, request, own)
    }
    .whenComplete { result in
      let this = bound.value
      guard this.isInWork, this.edgeWork?.ticket == ticket, this.stage != .closed else { return }
      // Fails only when the process is ending.
      let found = (try? result.get()) ?? .nothing
      this.answer(found, policy, own, request)
    }
  }

  /// The head has been read and is not passed on: what stands behind it is next.
  func takeHead() {
    input.moveReaderIndex(forwardBy: head.length)
    // Whoever answers later must not take it again.
    head.length = 0
    if input.readableBytes == 0 { input = loop.empty }
  }

  /// The codings that the caller reads, the best first, without identity.
  private func wantedCodings(_ bytes: borrowing Span<UInt8>) -> [ContentCoding] {
    var offered: ContentCoding.Set = [.gzip, .brotli, .zstd]
    var codings: [ContentCoding] = []
    while let next = ContentCoding.choose(bytes, head, offered: offered), next != .identity {
      codings.append(next)
      offered.subtract(ContentCoding.Set(rawValue: 1 << next.rawValue))
    }
    return codings
  }

  private func answer(_ found: FilesPolicy.Found, _ policy: FilesPolicy, _ bytes: ByteBuffer, _ request: RequestHead) {
    let now = loop.now()
    loop.silentAt[Int(place)] = .max
    phase = .done
    switch found {
    case .nothing: refuse(.noRoute, now: now)
    case .folder:
      loop.scratch.clear()
      loop.scratch.appendStatusLine(308)
      loop.scratch.append("Location: ")
      let span = bytes.readableBytesUInt8Span
      loop.scratch.append(span, request.path.range)
      loop.scratch.append("/")
      if !request.query.isEmpty {
        loop.scratch.append("?")
        loop.scratch.append(span, request.query.range)
      }
      loop.scratch.append("\r\nContent-Length: 0\r\n")
      appendRouteFields()
      answerOurselves(status: 308, now: now)
    case .file(let file): answer(file, policy, now: now)
    }
  }

  private func answer(_ file: FilesPolicy.FoundFile, _ policy: FilesPolicy, now: Instant) {
    loop.scratch.clear()
    let length = file.range.upperBound - file.range.lowerBound
    let status: UInt16
    switch file.verdict {
    case .whole: status = 200
    case .part: status = 206
    case .unchanged: status = 304
    case .failed: status = 412
    case .unsatisfiable: status = 416
    }
    loop.scratch.appendStatusLine(status)
    if status != 304 {
      loop.scratch.append("Content-Length: ")
      loop.scratch.append(decimal: length)
      loop.scratch.append("\r\n")
    }
    if status == 206 || status == 416 { appendContentRange(file) }
    if status != 412 && status != 416 { appendFileFields(file, policy, status) }
    appendRouteFields()
    if Int64(file.first.count) == length || head.method == .head {
      return answerOurselves(status: status, body: file.first, now: now)
    }
    // More than goes with the head.
    decideWhetherToClose()
    if let rule = epoch.requestID { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    loop.scratch.append(file.first)
    writeScratch()
    answer = .relaying
    self.status = status
    bodyOut = Int64(file.first.count)
    let stream = FileStream(file.descriptor, file.range.lowerBound + Int64(file.first.count)..<file.range.upperBound)
    edgeWork?.file = stream
    flush()
    sendFile()
  }

  private func appendContentRange(_ file: FilesPolicy.FoundFile) {
    loop.scratch.append("Content-Range: bytes ")
    if case .part(let range) = file.verdict {
      loop.scratch.append(decimal: range.lowerBound)
      loop.scratch.append("-")
      loop.scratch.append(decimal: range.upperBound - 1)
    } else {
      loop.scratch.append("*")
    }
    loop.scratch.append("/")
    loop.scratch.append(decimal: file.request.size)
    loop.scratch.append("\r\n")
  }

  private func appendFileFields(_ file: FilesPolicy.FoundFile, _ policy: FilesPolicy, _ status: UInt16) {
    if status != 304 {
      loop.scratch.append("Content-Type: ")
      loop.scratch.append(Array(file.type.utf8))
      loop.scratch.append("\r\nX-Content-Type-Options: nosniff\r\nAccept-Ranges: bytes\r\n")
      if file.coding != .identity {
        loop.scratch.append("Content-Encoding: ")
        loop.scratch.append(file.coding.token)
        loop.scratch.append("\r\n")
      }
    }
    loop.scratch.append("ETag: ")
    loop.scratch.append(file.request.tag)
    loop.scratch.append("\r\nLast-Modified: ")
    HTTPDate.append(file.request.modified, to: &loop.scratch)
    loop.scratch.append("\r\nVary: Accept-Encoding\r\nCache-Control: ")
    if policy.cache < 0 || file.isStandIn || file.type.hasPrefix("text/html") {
      loop.scratch.append("no-cache\r\n")
    } else {
      loop.scratch.append("public, max-age=")
      loop.scratch.append(decimal: policy.cache)
      loop.scratch.append("\r\n")
    }
  }

  /// Reads the next piece of the file under way, unless the client is behind.
  func sendFile() {
    guard let stream = edgeWork?.file, !stream.isReading, outlet.isWritable, stage != .closed else { return }
    stream.isReading = true
    let count = Int(min(Int64(FilesPolicy.pieceBytes), stream.end - stream.at))
    let (descriptor, at) = (stream.descriptor, stream.at)
    let bound = NIOLoopBound((self, stream), eventLoop: loop.eventLoop)
    loop.silentAt[Int(place)] = loop.now().nanoseconds + loop.times.answerIdle
    NIOThreadPool.singleton.runIfActive(eventLoop: loop.eventLoop) { try descriptor.read(upTo: count, at: at) }
      .whenComplete { result in
        let (this, stream) = bound.value
        this.filePiece((try? result.get()) ?? [], of: stream)
      }
  }

  private func filePiece(_ piece: [UInt8], of stream: FileStream) {
    stream.isReading = false
    guard edgeWork?.file === stream, stage != .closed else { return }
    let now = loop.now()
    if piece.isEmpty {
      // It has shrunk, or cannot be read: the promised length cannot be kept, and a cut shows.
      edgeWork?.file = nil
      endRequest(.internalError, status: status, now: now)
      return cut()
    }
    stream.at += Int64(piece.count)
    bodyOut += Int64(piece.count)
    write(ByteBuffer(bytes: piece))
    if stream.at < stream.end {
      flush()
      return sendFile()
    }
    edgeWork?.file = nil
    needsFlush = true
    endOwnAnswer(status: status, now: now)
  }
}
