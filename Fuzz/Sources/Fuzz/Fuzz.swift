// SPDX-License-Identifier: Apache-2.0
import Glibc
import WeirBase
import WeirPatterns
import WeirWire

/// libFuzzer's own entry, for programs that have a `main` of their own, as every executable of the package manager has.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ words: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What the package manager makes `main` of.
@_cdecl("weir_fuzz_main")
public func fuzzMain(_ count: CInt, _ words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
  var count = count
  var words = words
  return runDriver(&count, &words, { fuzzOne($0, $1) })
}

/// One input for the target named by `WEIR_FUZZ_TARGET`; what must hold is held by `require`, which stops the process.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  target(bytes)
  return 0
}

nonisolated(unsafe) private let target: ([UInt8]) -> Void = {
  let name = getenv("WEIR_FUZZ_TARGET").map { String(cString: $0) } ?? ""
  switch name {
  case "request": return fuzzRequest
  case "response": return fuzzResponse
  case "chunked": return fuzzChunked
  case "proxy": return fuzzProxy
  case "hello": return fuzzHello
  case "websocket": return fuzzWebSocket
  case "h2": return fuzzH2
  case "transform": return fuzzTransforms
  case "route": return fuzzRoutes
  case "state": return fuzzState
  case "queue": return fuzzQueues
  case "log": return fuzzLogs
  case "schema": return fuzzSchemas
  case "grpcweb": return fuzzGRPCWeb
  case "queue-route": return fuzzQueueRoute
  case "group": return fuzzGroup
  case "json": return fuzzJSON
  default: fatalError("WEIR_FUZZ_TARGET names no target: '\(name)'")
  }
}()

func require(_ condition: Bool, _ what: @autoclosure () -> String) {
  if !condition { fatalError(what()) }
}

func written(_ buffer: HeadBuffer) -> [UInt8] { Array(buffer.storage.prefix(buffer.count)) }

// MARK: Heads

func scanRequest(_ bytes: [UInt8], _ sender: RequestScanner.Sender = []) -> (HeadOutcome, RequestHead) {
  var scanner = RequestScanner()
  var head = RequestHead()
  let outcome = scanner.scan(bytes.span, from: sender, limits: HeadLimits(), into: &head)
  return (outcome, head)
}

/// What passes is read the same again, whole; how the bytes were split changes nothing; what is left out stays out.
func fuzzRequest(_ bytes: [UInt8]) {
  for sender in [[], [.proxy], [.proxy, .service]] as [RequestScanner.Sender] {
    let (outcome, head) = scanRequest(bytes, sender)
    var scanner = RequestScanner()
    var slow = RequestHead()
    // In three parts, where the input says.
    let first = bytes.isEmpty ? 0 : Int(bytes[bytes.count / 2]) % (bytes.count + 1)
    var last = HeadOutcome.needMore
    for part in [first, (first + bytes.count) / 2, bytes.count] {
      last = scanner.scan(bytes.span.extracting(0..<part), from: sender, limits: HeadLimits(), into: &slow)
      if last != .needMore { break }
    }
    require((last == .complete) == (outcome == .complete), "parts: \(last), whole: \(outcome)")
    guard outcome == .complete else { continue }
    require(slow == head, "parts give another head")
    var out = HeadBuffer()
    out.appendRequest(bytes.span, head)
    if head.host.isEmpty { out.append("Host: localhost\r\n") }
    out.append("\r\n")
    let passed = written(out)
    let (second, again) = scanRequest(passed, sender)
    require(second == .complete, "what passed is \(second)")
    require(again.length == passed.count, "what passed has another end")
    require(again.framing == head.framing, "what passed has another body")
    require(again.method == head.method, "what passed has another method")
    require(
      passed[again.path.range]
        == (head.path.isEmpty ? [head.method == .options ? 0x2a : 0x2f] : bytes[head.path.range]), "another path")
    require(
      head.host.isEmpty || passed[again.host.range].elementsEqual(bytes[head.host.range])
        || head.flags.contains(.absolute), "another host")
    var twice = HeadBuffer()
    twice.appendRequest(passed.span, again)
    twice.append("\r\n")
    require(scanRequest(written(twice), sender).1.cuts.count == 0 || !sender.isEmpty, "a second pass drops more")
  }
}

func fuzzResponse(_ bytes: [UInt8]) {
  for toHead in [false, true] {
    func scan(_ bytes: [UInt8]) -> (HeadOutcome, ResponseHead) {
      var scanner = ResponseScanner()
      var head = ResponseHead()
      let outcome = scanner.scan(bytes.span, toHead: toHead, limits: HeadLimits(), into: &head)
      return (outcome, head)
    }
    let (outcome, head) = scan(bytes)
    guard outcome == .complete else { continue }
    var out = HeadBuffer()
    out.appendResponse(bytes.span, head)
    if head.framing == .chunked { out.append("Transfer-Encoding: chunked\r\n") }
    out.append("\r\n")
    let passed = written(out)
    let (second, again) = scan(passed)
    require(second == .complete, "what passed is \(second)")
    require(
      again.length == passed.count && again.framing == head.framing && again.status == head.status, "another answer")
    var list = H2FieldList()
    require(list.response(passed.span), "no fields for HTTP/2")
  }
}

// MARK: Streams

/// The same events and the same data however the bytes are split; what passes is read the same again.
func fuzzChunked(_ bytes: [UInt8]) {
  guard let step = bytes.first else { return }
  let body = Array(bytes.dropFirst())
  func read(_ piece: Int) -> (data: [UInt8], end: Int, error: HeadError?) {
    var chunks = ChunkedScanner()
    var data: [UInt8] = []
    var start = 0
    while start < body.count {
      let part = Array(body[start..<min(body.count, start + piece)])
      var at = 0
      loop: while true {
        switch chunks.next(part.span, from: &at) {
        case .data(let range): data += part[range]
        case .needMore: break loop
        case .end(let end): return (data, start + end, nil)
        case .refused(let error): return (data, -1, error)
        }
      }
      start += part.count
    }
    return (data, -2, nil)
  }
  let whole = read(max(1, body.count))
  let parts = read(Int(step) % 16 + 1)
  require(
    whole.end == parts.end && whole.error == parts.error && whole.data == parts.data,
    "by parts: \(parts), whole: \(whole)")
  if whole.end > 0 {
    require(
      body[..<whole.end].suffix(4).elementsEqual([13, 10, 13, 10])
        || body[..<whole.end].suffix(2).elementsEqual([13, 10]), "an end without a line end")
  }
}

func fuzzProxy(_ bytes: [UInt8]) {
  var header = ProxyHeader()
  let outcome = header.scan(bytes.span)
  guard outcome == .complete else { return }
  require(header.length <= bytes.count, "longer than what came")
  var shorter = ProxyHeader()
  require(shorter.scan(bytes.span.extracting(0..<(header.length - 1))) == .needMore, "whole before its end")
  if header.isLocal { return }
  for binary in [false, true] {
    var out = HeadBuffer()
    if binary {
      out.appendProxyBinary(
        source: header.source, destination: header.destination, authority: bytes.span.extracting(header.authority.range)
      )
    } else {
      out.appendProxyLine(source: header.source, destination: header.destination)
    }
    var again = ProxyHeader()
    require(again.scan(written(out).span) == .complete, "what was written is not read")
    require(again.source == header.source && again.destination == header.destination, "other addresses")
    require(again.authority.count == (binary ? header.authority.count : 0), "another name")
  }
}

/// A name is a name; what stands behind a hello changes nothing, a part of it is waited for, and other records with the same
/// hello in them give the same.
func fuzzHello(_ bytes: [UInt8]) {
  guard case .complete(let name) = ClientHello.scan(bytes.span) else { return }
  if let name {
    require(!name.isEmpty && name.count <= 255, "a name of \(name.count) bytes")
    for byte in name {
      require(
        byte >= 0x61 && byte <= 0x7a || byte >= 0x30 && byte <= 0x39 || [0x2d, 0x2e, 0x5f].contains(byte), "no name")
    }
  }
  require(ClientHello.scan((bytes + [22, 3, 1, 0, 0]).span) == .complete(name: name), "what follows changes it")
  var hello: [UInt8] = []
  var at = 0
  while at + 5 <= bytes.count, bytes[at] == 22 {
    let length = Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
    hello += bytes[(at + 5)..<min(bytes.count, at + 5 + length)]
    at += 5 + length
  }
  let length = 4 + (Int(hello[1]) << 16 | Int(hello[2]) << 8 | Int(hello[3]))
  require(hello.count >= length, "whole before its end")
  let step = Int(hello[length - 1]) + 1
  var split: [UInt8] = []
  for start in stride(from: 0, to: length, by: step) {
    let part = hello[start..<min(length, start + step)]
    split += [22, 3, 3, UInt8(part.count >> 8), UInt8(part.count & 255)] + part
  }
  if split.count >= ClientHello.bytesMax { return }
  require(ClientHello.scan(split.span) == .complete(name: name), "in other records it is another")
  require(ClientHello.scan(split.span.extracting(0..<(split.count - 1))) == .needMore, "a part of it is enough")
}

func fuzzWebSocket(_ bytes: [UInt8]) {
  guard bytes.count >= 2 else { return }
  let reserved = WebSocketFrames.Reserved(rawValue: bytes[0] >> 1 % 3) ?? .none
  let body = Array(bytes.dropFirst(2))
  func read(_ piece: Int) -> ([WebSocketFrames.Event], Int) {
    var frames = WebSocketFrames(isClient: bytes[0] & 1 == 1, reserved: reserved, messageBytesMax: 1000)
    var events: [WebSocketFrames.Event] = []
    var taken = 0
    var come = 0
    while come < body.count {
      come = min(body.count, come + piece)
      let part = Array(body[taken..<come])
      var at = 0
      while true {
        let event = frames.next(part.span, from: &at)
        require(at >= 0 && at <= part.count, "out of the buffer")
        if event == .needMore { break }
        events.append(event)
        if case .refused = event {
          require(frames.isBetweenFrames, "refused within a frame")
          return (events, taken + at)
        }
      }
      if let last = events.last, case .close = last { return (events, taken + at) }
      require(part.count - at <= 139, "more waits than a close frame has")
      taken += at
    }
    return (events, taken)
  }
  let whole = read(max(1, body.count))
  let parts = read(Int(bytes[1]) % 32 + 1)
  require(whole == parts, "by parts: \(parts), whole: \(whole)")
}

// MARK: HTTP/2

/// Fields as `name`, 0x01, `value`, 0x02: what is converted is one head that the scanner takes to its end or refuses.
func fuzzH2(_ bytes: [UInt8]) {
  guard let first = bytes.first else { return }
  var fields: [([UInt8], [UInt8])] = []
  for line in bytes.dropFirst().split(separator: 2, omittingEmptySubsequences: true) {
    let parts = line.split(separator: 1, maxSplits: 1, omittingEmptySubsequences: false)
    fields.append((Array(parts[0]), parts.count > 1 ? Array(parts[1]) : []))
  }
  let ends = first & 1 == 1
  request: do {
    var request = H2Request()
    request.begin()
    for (name, value) in fields where request.add(name.span, value.span) != nil { break request }
    var out = HeadBuffer()
    if request.finish(endsStream: ends, into: &out) != nil {
      require(out.count == 0, "a mistake leaves bytes")
      break request
    }
    let head = written(out)
    let (outcome, scanned) = scanRequest(head + Array("X / HTTP/1.1\r\n\r\n".utf8))
    require(outcome != .needMore, "not whole")
    guard outcome == .complete else { break request }
    require(scanned.length == head.count, "another end")
    switch scanned.framing {
    case .none: require(ends || request.contentLength == 0, "the body is lost")
    case .length(let length): require(!ends && length == request.contentLength, "another length")
    case .chunked: require(!ends && request.contentLength < 0, "chunked by somebody else")
    case .untilClose: require(false, "until the end")
    }
    var list = H2FieldList()
    require(list.request(head.span, isHTTPS: request.isHTTPS), "no way back")
  }
  response: do {
    var response = H2Response()
    response.begin()
    for (name, value) in fields where response.add(name.span, value.span) != nil { break response }
    var out = HeadBuffer()
    let toHead = first & 2 == 2
    if response.finish(endsStream: ends, toHead: toHead, into: &out) != nil { break response }
    let bytes = written(out)
    var scanner = ResponseScanner()
    var head = ResponseHead()
    let outcome = scanner.scan(bytes.span, toHead: toHead, limits: HeadLimits(), into: &head)
    require(outcome != .needMore, "not whole")
    if outcome == .complete {
      require(head.length == bytes.count && head.framing != .untilClose, "another end")
      if ends { require(head.framing == .none, "a body after the end") }
    }
  }
  trailers: do {
    var trailers = H2Trailers()
    trailers.begin()
    for (name, value) in fields where trailers.add(name.span, value.span) != nil { break trailers }
    var out = HeadBuffer()
    trailers.finish(into: &out)
    let bytes = written(out)
    var chunks = ChunkedScanner()
    var at = 0
    require(chunks.skip(bytes.span, from: &at) == .end(at: bytes.count), "trailers that are none")
  }
}

// MARK: Transforms

private let names = try? FieldNames(["a", "cookie", "accept", "x-long-name-of-a-field"])

func fuzzTransforms(_ bytes: [UInt8]) {
  var (outcome, head) = scanRequest(bytes, [.proxy])
  guard outcome == .complete else { return }
  var out = HeadBuffer()
  _ = ContentCoding.choose(bytes.span, head, offered: [.gzip, .brotli, .zstd])
  _ = MediaType.accepted(bytes.span, head, parameter: "version")
  _ = CORSRequest(bytes.span, head)
  _ = Credentials.read(bytes.span, head, scratch: &out)
  _ = WebSocketHandshake.check(bytes.span, head)
  for var hops in [ForwardedHops(forwardedFor: head.forwardedFor), ForwardedHops(forwarded: head.forwarded)] {
    var steps = 0
    while hops.next(bytes.span) != .end {
      steps += 1
      require(steps <= bytes.count + 1, "hops without an end")
    }
  }
  out.clear()
  _ = Query.decode(bytes.span, head.query, into: &out)
  // A target that was edited is a target still, and has the parameter once.
  out.clear()
  out.append("GET ")
  out.appendTarget(
    bytes.span, head.path.isEmpty ? head.target : head.path, head.query, name: [0x61], value: [0x20, 0x26, 0xff])
  out.append(" HTTP/1.1\r\nHost: a\r\n\r\n")
  if head.path.count > 0 && bytes[Int(head.path.start)] == 0x2f {
    let target = written(out)
    let (again, edited) = scanRequest(target)
    require(again == .complete && edited.length == target.count, "the edited target is \(again)")
    if case .one = Query.find(target.span, edited.query, [0x61]) {
    } else {
      require(false, "the parameter is not there once")
    }
  }
  // Dropped fields are gone, the rest is a head still.
  if let names { head.drop(bytes.span, names) }
  out.clear()
  out.appendRequest(bytes.span, head)
  if head.host.isEmpty { out.append("Host: localhost\r\n") }
  out.appendCookies(bytes.span, head, without: [0x62])
  out.append("\r\n")
  let passed = written(out)
  let (second, again) = scanRequest(passed, [.proxy])
  require(
    second == .complete && again.length == passed.count && again.framing == head.framing, "edited it is \(second)")
  require(Fields(again).find(passed.span, "accept") == .none, "a dropped field is there")
  require(Cookies.find(passed.span, again, [0x62]) == .none, "a removed cookie is there")
}

// MARK: Routes

/// Patterns, one a line, then an empty line, then `host path`: the trie agrees with itself however it was built, and what it
/// answers is one of its candidates.
func fuzzRoutes(_ bytes: [UInt8]) {
  let lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
  guard let gap = lines.firstIndex(where: \.isEmpty), gap + 1 < lines.count else { return }
  var builder = RouteTrie.Builder()
  var count = 0
  for line in lines[..<gap].prefix(16) {
    let parts = line.split(separator: 0x20, maxSplits: 1)
    guard let path = parts.last else { continue }
    let host = parts.count > 1 ? String(decoding: parts[0], as: UTF8.self) : nil
    guard let pattern = try? RoutePattern(path: String(decoding: path, as: UTF8.self), host: host) else { continue }
    builder.add(pattern, route: count)
    count += 1
  }
  let trie = builder.build()
  require(trie.violation() == nil, trie.violation() ?? "")
  for line in lines[(gap + 1)...] {
    let parts = line.split(separator: 0x20, maxSplits: 1)
    guard let path = parts.last.map(Array.init) else { continue }
    let host = parts.count > 1 ? Array(parts[0]) : Array("a".utf8)
    if case .route(let route) = trie.match(host: host.span, path: path.span, method: .get) {
      require(route < count, "a route that nobody added")
    }
  }
}

// MARK: The state process

/// Frames do not depend on the cut; what is read is written as it was.
func fuzzState(_ bytes: [UInt8]) {
  func frames(_ cuts: [Int]) -> (contents: [[UInt8]], error: StateFrameError?) {
    var reader = StateFrameReader()
    var contents: [[UInt8]] = []
    var start = 0
    for end in cuts + [bytes.count] where end >= start {
      reader.feed(bytes.span.extracting(start..<end))
      start = end
      do { while let content = try reader.next() { contents.append(Array(content)) } } catch {
        return (contents, error)
      }
    }
    require(reader.count <= bytes.count, "more is held than was fed")
    return (contents, nil)
  }
  let whole = frames([])
  let cut = frames(bytes.isEmpty ? [] : [Int(bytes[0]) % (bytes.count + 1)])
  require(whole.contents == cut.contents && whole.error == cut.error, "frames depend on the cut")
  for content in whole.contents {
    if let (id, request) = try? StateFrames.request(content.span) {
      var written: [UInt8] = []
      StateFrames.append(request, id: id, to: &written)
      require(Array(written.dropFirst(4)) == content, "a request is not written as it was read")
    }
    if let (id, reply) = try? StateFrames.reply(content.span) {
      var written: [UInt8] = []
      StateFrames.append(reply, id: id, to: &written)
      require(Array(written.dropFirst(4)) == content, "a reply is not written as it was read")
    }
  }
}
