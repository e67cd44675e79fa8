// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// A call of gRPC-Web, which browsers make: to its service it is one of gRPC, to its client an exchange of plain HTTP.
///
/// Confined to its loop; of one request.
final class WebCall {
  /// The body of the request is base64, and that of the answer.
  let isText: Bool
  let answersText: Bool
  /// Behind `application/grpc`, as the request has it: what encodes its messages.
  let rest: [UInt8]
  fileprivate var text = GRPCWebText()
  /// What has been decoded of one read, and what is framed of one answer: used within one turn.
  fileprivate var plain: [UInt8] = []
  fileprivate var packed: [UInt8] = []
  /// Bytes of the decoded body that were sent on, with their framing.
  fileprivate(set) var sent: Int64 = 0
  /// The trailers so far, line by line.
  fileprivate var trailers: [UInt8] = []
  /// The answer's own words for what encodes its messages.
  fileprivate var answerRest: [UInt8] = []
  /// The body of the answer is framed as chunks; else it ends with the connection.
  fileprivate var isChunked = true

  fileprivate init(isText: Bool, answersText: Bool, rest: [UInt8]) {
    self.isText = isText
    self.answersText = answersText
    self.rest = rest
  }

  /// Written anew, or of the framing that is another.
  fileprivate static let dropped = FieldNames.ours(["content-type", "grpc-timeout", "x-grpc-web"])
  fileprivate static let droppedOfText = FieldNames.ours([
    "content-type", "grpc-timeout", "x-grpc-web", "content-length",
  ])
  /// Of an answer's head: what is another, and what ends a call that has nothing but a head.
  fileprivate static let droppedOfAnswer = FieldNames.ours([
    "content-type", "content-length", "grpc-status", "grpc-message", "grpc-status-details-bin",
  ])
  fileprivate static let status = FieldNames.ours(["grpc-status", "grpc-message", "grpc-status-details-bin"])

  /// `application/grpc-web…` as the answer has it.
  fileprivate func appendType(_ rest: [UInt8], to out: inout HeadBuffer) {
    out.append("Content-Type: application/grpc-web")
    if answersText { out.append("-text") }
    out.append(rest)
    out.append("\r\n")
  }
}

extension ClientConnection {
  // MARK: - The request

  /// A request of gRPC-Web is one of gRPC from here on; any other stays what it is.
  ///
  /// False when its `grpc-timeout` is none.
  func enterWeb() -> Bool {
    guard head.method == .post, !isGRPC, web == nil else { return true }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    guard case .one(let run) = Fields(head).find(bytes, "content-type"),
      let type = GRPCWebType.parse(bytes.extracting(run.range))
    else { return true }
    var answersText = type.isText
    if case .one(let accept) = Fields(head).find(bytes, "accept"),
      let accepted = GRPCWebType.first(inAccept: bytes.extracting(accept.range))
    {
      answersText = accepted.isText
    }
    var rest: [UInt8] = []
    let start = Int(run.start)
    for i in (start + Int(type.rest.start))..<(start + Int(type.rest.end)) { rest.append(bytes[i]) }
    web = WebCall(isText: type.isText, answersText: answersText, rest: rest)
    isGRPC = true
    acceptsTrailers = true
    var isFine = true
    switch Fields(head).find(bytes, "grpc-timeout") {
    case .none: break
    case .one(let timeout):
      grpcTimeout = GRPCTimeout.parse(bytes.extracting(timeout.range)) ?? -1
      isFine = grpcTimeout >= 0
    case .many: isFine = false
    }
    head.drop(bytes, type.isText ? WebCall.droppedOfText : WebCall.dropped)
    return isFine
  }

  /// The request is over; the connection's next one may be anything.
  func leaveWeb() {
    web = nil
    isGRPC = false
    acceptsTrailers = false
    grpcTimeout = -1
  }

  /// How the body goes on to an instance: as it came, but for text, whose length is another when it is decoded.
  var sentFraming: Framing { web?.isText == true && head.framing != .none ? .chunked : head.framing }

  /// Behind the fields that are kept.
  func appendWebFields(_ web: WebCall) {
    loop.scratch.append("Content-Type: application/grpc")
    loop.scratch.append(web.rest)
    loop.scratch.append("\r\n")
    // In chunks it has come with this line.
    if web.isText, case .length = head.framing { loop.scratch.append("Transfer-Encoding: chunked\r\n") }
  }

  /// As ``forwardBody(isFirst:)`` of a body in text: decoded as it comes, in chunks.
  func forwardText(_ web: WebCall, _ upstream: UpstreamConnection, isFirst: Bool) -> Bool {
    let (count, isLast, error) = decode(web)
    input.moveReaderIndex(forwardBy: count)
    if input.readableBytes == 0 { input = loop.empty }
    if let error {
      refuseWithinBody(error.reason, OwnAnswers.detailed(error.reason, error), now: loop.now())
      return false
    }
    guard let isLast else {
      refuseWithinBody(
        .badRequest,
        ErrorAnswer(
          status: Reason.badRequest.status, name: Reason.badRequest.name, error: Reason.badRequest.proxyStatus,
          detail: "The body is no base64, as application/grpc-web-text has it."), now: loop.now())
      return false
    }
    if count == 0 && !isFirst && !isLast { return false }
    if count > 0 { owesContinue = false }
    bodyIn += Int64(count)
    let now = loop.now()
    if isLast {
      stage = .waiting
      loop.silentAt[Int(place)] = .max
      upstream.isRequestSent = true
    } else {
      loop.silentAt[Int(place)] = now.nanoseconds + bodyIdle
    }
    var part = ByteBufferAllocator().buffer(capacity: web.plain.count + 24)
    if !web.plain.isEmpty {
      part.writeString(String(web.plain.count, radix: 16))
      part.writeStaticString("\r\n")
      part.writeBytes(web.plain)
      part.writeStaticString("\r\n")
    }
    if isLast { part.writeStaticString("0\r\n\r\n") }
    web.sent += Int64(part.readableBytes)
    if isFirst && (keepsBody || part.readableBytes <= ClientConnection.copyMax) {
      request.writeBuffer(&part)
      upstream.outlet.writeThrough(&request)
    } else {
      if isFirst { upstream.write(request) }
      if !isFirst && keepsBody { request.writeImmutableBuffer(part) }
      upstream.write(part)
    }
    upstream.flush()
    sent(isLast ? .all : .something, now: now)
    if !isLast, let up = self.upstream, !up.isWritable { setReading(false) }
    return isLast
  }

  /// Decodes what has come of the body into the call's bytes; `isLast` is nil when it is no text of the kind.
  private func decode(_ web: WebCall) -> (count: Int, isLast: Bool?, error: HeadError?) {
    web.plain.removeAll(keepingCapacity: true)
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var at = 0
    var isLast = false
    switch head.framing {
    case .none, .untilClose: isLast = true
    case .length:
      at = Int(min(Int64(bytes.count), bodyLeft))
      bodyLeft -= Int64(at)
      isLast = bodyLeft == 0
      if !web.text.decode(bytes.extracting(0..<at), into: &web.plain) { return (at, nil, nil) }
    case .chunked:
      reading: while true {
        switch chunks.next(bytes, from: &at) {
        case .data(let run):
          if !web.text.decode(bytes.extracting(run), into: &web.plain) { return (at, nil, nil) }
        case .needMore: break reading
        case .end:
          isLast = true
          break reading
        case .refused(let error): return (at, false, error)
        }
      }
    }
    if isLast && !web.text.isWhole { return (at, nil, nil) }
    return (at, isLast, nil)
  }

  // MARK: - The answer

  /// Whether an answer is gRPC's: then it goes on as gRPC-Web, and the lines are dropped that would no longer be true.
  ///
  /// Whatever else an instance answers is relayed as it is: its client knows what an HTTP status means.
  func beginWebAnswer(_ upstream: UpstreamConnection, _ web: WebCall) -> Bool {
    guard upstream.head.status == 200 else { return false }
    let input = upstream.input
    let bytes = input.readableBytesUInt8Span
    guard case .one(let run) = Fields(upstream.head).find(bytes, "content-type"),
      bytes.extracting(run.range).isGRPCType
    else { return false }
    web.answerRest.removeAll(keepingCapacity: true)
    for i in (Int(run.start) + 16)..<Int(run.end) { web.answerRest.append(bytes[i]) }
    // gRPC's servers leave out what is the usual; some clients of gRPC-Web want to read what they have asked for.
    if web.answerRest.isEmpty { web.answerRest += web.rest }
    web.trailers.removeAll(keepingCapacity: true)
    // A call that ends in its head: what is its end stands behind the messages, where every client looks.
    var fields = Fields(upstream.head)
    while let field = fields.next(bytes) {
      guard WebCall.status.index(bytes, field.name) >= 0 else { continue }
      for i in field.name.range { web.trailers.append(bytes[i]) }
      web.trailers.append(contentsOf: [0x3a, 0x20])
      for i in field.value.range { web.trailers.append(bytes[i]) }
      web.trailers.append(contentsOf: [0x0d, 0x0a])
    }
    upstream.head.drop(bytes, WebCall.droppedOfAnswer)
    watch?.isVoid = true
    web.isChunked = !head.flags.contains(.http10)
    if !web.isChunked { closeAfter = true }
    relay = .web
    return true
  }

  func appendWebType(_ web: WebCall) { web.appendType(web.answerRest, to: &loop.scratch) }

  /// Sends on what has come of a body, and its trailers behind it.
  func relayWeb(_ upstream: UpstreamConnection, withHead: Bool) -> (Bool, HeadError?) {
    guard let web else { return (true, .chunkSize) }
    let edge = loop.edge
    edge.plain.clear()
    let isLast: Bool
    let error: HeadError?
    if case .chunked = upstream.head.framing {
      (isLast, error) = upstream.takeData(into: &edge.plain, trailers: &web.trailers)
    } else {
      let count: Int
      (count, isLast, error) = upstream.takeBody()
      if count > 0 { edge.plain.writePrefix(of: &upstream.input, count) }
      upstream.input.moveReaderIndex(forwardBy: count)
    }
    if error != nil { return (isLast, error) }
    if upstream.input.readableBytes == 0 { upstream.input = loop.empty }
    writeWeb(web, upstream, withHead: withHead, isLast: isLast)
    return (isLast, nil)
  }

  /// The instance has closed a body that lasted until then.
  func endWeb(_ upstream: UpstreamConnection) {
    guard let web else { return }
    loop.edge.plain.clear()
    writeWeb(web, upstream, withHead: false, isLast: true)
  }

  private func writeWeb(_ web: WebCall, _ upstream: UpstreamConnection, withHead: Bool, isLast: Bool) {
    let edge = loop.edge
    if isLast {
      if web.trailers.isEmpty {
        // An answer without an end is UNKNOWN, as for every client of gRPC.
        let status = upstream.grpcStatus ?? .unknown
        web.trailers.append(contentsOf: "grpc-status: \(status.rawValue)\r\n".utf8)
      }
      web.packed.removeAll(keepingCapacity: true)
      let trailers = web.trailers
      GRPCWebTrailers.appendFrame(trailers.span, to: &web.packed)
      edge.plain.writeBytes(web.packed)
    }
    if web.answersText && edge.plain.readableBytes > 0 {
      web.packed.removeAll(keepingCapacity: true)
      let plain = edge.plain
      GRPCWebText.encode(plain.readableBytesUInt8Span, into: &web.packed)
      edge.plain.clear()
      edge.plain.writeBytes(web.packed)
    }
    let count = edge.plain.readableBytes
    bodyOut += Int64(count)
    if !withHead { loop.out.clear() }
    if count > 0 {
      if web.isChunked {
        loop.scratch.clear()
        loop.scratch.append(hex: UInt64(count))
        loop.scratch.append("\r\n")
        loop.scratch.write(to: &loop.out)
      }
      loop.out.writeBuffer(&edge.plain)
      if web.isChunked { loop.out.writeStaticString("\r\n") }
    }
    if isLast && web.isChunked { loop.out.writeStaticString("0\r\n\r\n") }
    if loop.out.readableBytes > 0 { write(loop.out) }
  }

  // MARK: - Our own answers

  /// Our own answer to a client of gRPC-Web: 200, and a body of trailers alone.
  func writeWeb(_ answer: ErrorAnswer, _ web: WebCall, retryAfter: Int64) {
    var lines = answer.grpcTrailers
    if retryAfter > 0 && retryAfter < .max / 2 {
      lines += Array("grpc-retry-pushback-ms: \((retryAfter + 999_999) / 1_000_000)\r\n".utf8)
    }
    var body: [UInt8] = []
    GRPCWebTrailers.appendFrame(lines.span, to: &body)
    if web.answersText {
      let frame = body
      body = []
      GRPCWebText.encode(frame.span, into: &body)
    }
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 200 OK\r\n")
    web.appendType(web.rest, to: &loop.scratch)
    loop.scratch.append("Content-Length: ")
    loop.scratch.append(decimal: Int64(body.count))
    loop.scratch.append("\r\nCache-Control: no-store\r\n")
    loop.scratch.append(answer.proxyStatus)
    if edgePolicy != nil { appendEdgeFields() }
    loop.scratch.append(loop.dateLine)
    if let rule = epoch.requestID, !isCalls, requestID.count > 0 { appendRequestID(rule) }
    if limitAsked >= 0 { appendLimit() }
    if let rules { appendOwnAnswerLines(rules) }
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    loop.scratch.append(body)
    bodyOut = Int64(body.count)
    writeScratch()
  }
}
