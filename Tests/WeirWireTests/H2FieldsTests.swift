// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

/// What becomes of an HTTP/2 request's fields.
enum Converted: Equatable {
  case refused(H2Mistake)
  case head(String)
}

func convert(_ fields: [(String, String)], endsStream: Bool = true) -> Converted {
  convert(fields.map { (Array($0.0.utf8), Array($0.1.utf8)) }, endsStream: endsStream)
}

func convert(_ fields: [([UInt8], [UInt8])], endsStream: Bool) -> Converted {
  var request = H2Request()
  request.begin()
  for (name, value) in fields {
    if let mistake = request.add(name.span, value.span) { return .refused(mistake) }
  }
  var out = HeadBuffer()
  if let mistake = request.finish(endsStream: endsStream, into: &out) { return .refused(mistake) }
  return .head(text(out))
}

/// Fields that no head is made of: a good request's with these behind, or these alone.
struct Bad: CustomTestStringConvertible {
  var fields: [(String, String)]
  var mistake: H2Mistake
  var testDescription: String { "\(fields)" }

  init(_ more: [(String, String)], _ mistake: H2Mistake) {
    fields = H2RequestTests.get + more
    self.mistake = mistake
  }

  init(bare: [(String, String)], _ mistake: H2Mistake) {
    fields = bare
    self.mistake = mistake
  }
}

@Suite struct H2RequestTests {
  static let get: [(String, String)] = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
  static let post: [(String, String)] = [
    (":method", "POST"), (":scheme", "https"), (":path", "/x?y"), (":authority", "a:8443"),
  ]

  @Test func canonical() {
    #expect(convert(Self.get) == .head("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
    #expect(
      convert(Self.post + [("accept", "*/*"), ("content-length", "5")], endsStream: false)
        == .head("POST /x?y HTTP/1.1\r\nhost: a:8443\r\naccept: */*\r\ncontent-length: 5\r\n\r\n"))
    #expect(
      convert(Self.post, endsStream: false)
        == .head("POST /x?y HTTP/1.1\r\nhost: a:8443\r\ntransfer-encoding: chunked\r\n\r\n"))
    #expect(
      convert(Self.get + [("cookie", "a=1"), ("x", ""), ("cookie", "b=2"), ("cookie", "")])
        == .head("GET / HTTP/1.1\r\nhost: a\r\nx: \r\ncookie: a=1; b=2\r\n\r\n"))
    #expect(convert(Self.get + [("host", "A")]) == .head("GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
    #expect(
      convert([(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), ("host", "b")])
        == .head("OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n"))
  }

  @Test func trailersAreWanted() {
    var request = H2Request()
    request.begin()
    let mistake = request.add(Array("te".utf8).span, Array("trailers".utf8).span)
    #expect(mistake == nil)
    #expect(request.acceptsTrailers)
    request.begin()
    #expect(!request.acceptsTrailers)
  }

  // PortSwigger, "HTTP/2: The Sequel is Always Worse": downgrades that split a request in two, and header injection.
  static let downgrades: [Bad] = [
    Bad([("transfer-encoding", "chunked")], H2Mistake.connectionField),
    Bad([("Transfer-Encoding", "chunked")], .name),
    Bad([("transfer-encoding ", "chunked")], .name), Bad([(" transfer-encoding", "chunked")], .name),
    Bad([("foo", "b\r\nTransfer-Encoding: chunked")], .value), Bad([("foo", "b\nx: y")], .value),
    Bad([("foo", "b\ry")], .value), Bad([("foo", "b\0")], .value), Bad([("foo", "bar\r\n\r\nGET / HTTP/1.1")], .value),
    Bad([("foo: bar\r\nx", "y")], .name), Bad([("foo:bar", "y")], .name), Bad([("foo\r\n", "y")], .name),
    Bad([("foo\nx", "y")], .name), Bad([("foo bar", "y")], .name), Bad([("foo\0", "y")], .name),
    Bad([("", "y")], .name),
    Bad([("f\u{e9}", "y")], .name), Bad([("foo", " y")], .value), Bad([("foo", "y\t")], .value),
    Bad([("foo", "\u{7f}")], .value),
    Bad([("connection", "keep-alive")], .connectionField), Bad([("connection", "x-a")], .connectionField),
    Bad([("keep-alive", "1")], .connectionField), Bad([("proxy-connection", "close")], .connectionField),
    Bad([("upgrade", "h2c")], .connectionField), Bad([("http2-settings", "AAA")], .connectionField),
    Bad([("te", "chunked")], .connectionField), Bad([("te", "trailers, gzip")], .connectionField),
    Bad([("te", "")], .connectionField),
    Bad([("content-length", "+1")], .contentLength), Bad([("content-length", "1,1")], .contentLength),
    Bad([("content-length", "")], .contentLength),
    Bad([("content-length", "0"), ("content-length", "0")], .contentLength),
    Bad([("content-length", "4")], .contentLength),
    Bad([("host", "b")], .authority), Bad([("host", "a"), ("host", "a")], .authority),
    Bad([("host", "a\u{0}")], .value),
    Bad([(":method", "GET")], .pseudoField), Bad([("x", "y"), (":path", "/")], .pseudoField),
    Bad([(":status", "200")], .pseudoField),
    Bad([(":foo", "x")], .pseudoField), Bad([(":", "x")], .pseudoField),
    Bad([(":protocol", "websocket")], .pseudoField),
    Bad([(":Method", "GET")], .pseudoField), Bad(bare: Array(get.dropFirst()), .pseudoField),
    Bad(bare: Array(get.dropLast()), .pseudoField),
    Bad(bare: [get[0], get[2], get[3]], .pseudoField), Bad(bare: [get[0], get[1], get[3]], .authority),
    Bad(get, .pseudoField),
    Bad(bare: [(":method", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nx: x")], .method),
    Bad(bare: [(":method", "GET /admin HTTP/1.1")], .method),
    Bad(bare: [(":method", "")], .method), Bad(bare: [(":method", "GET\t")], .method),
    Bad(bare: [(":method", String(repeating: "A", count: 33))], .method),
    Bad(bare: [(":method", "CONNECT")], .connect), Bad(bare: [(":method", "connect")], .connect),
    Bad(bare: [(":path", "")], .path), Bad(bare: [(":path", "/ HTTP/1.1\r\nx: y")], .path),
    Bad(bare: [(":path", "/ x")], .path), Bad(bare: [(":path", "http://b/")], .path),
    Bad(bare: [(":path", "/#a")], .path), Bad(bare: [(":path", "/\u{e9}")], .path), Bad(bare: [(":path", "x")], .path),
    Bad(bare: [(":path", "/\0")], .path), Bad(bare: [(":path", "/\t")], .path),
    Bad(bare: [(":method", "GET"), (":scheme", "http"), (":path", "*"), ("host", "b")], .path),
    Bad(bare: [(":scheme", "https://evil/?")], .scheme), Bad(bare: [(":scheme", "")], .scheme),
    Bad(bare: [(":scheme", "ftp")], .scheme), Bad(bare: [(":scheme", "http\r\n")], .scheme),
    Bad(bare: [(":authority", "")], .authority), Bad(bare: [(":authority", "u@a")], .authority),
    Bad(bare: [(":authority", "a/b")], .authority),
    Bad(bare: [(":authority", "a\r\nx: y")], .authority), Bad(bare: [(":authority", "a b")], .authority),
    Bad(bare: [(":authority", "a:0x50")], .authority),
    Bad(bare: [(":authority", "a"), (":authority", "a")], .pseudoField),
  ]

  @Test("refuses what a downgrade would make two requests of", arguments: downgrades)
  func refuses(_ bad: Bad) { #expect(convert(bad.fields) == .refused(bad.mistake)) }

  @Test func limits() {
    #expect(convert(Self.get + (0..<96).map { ("x\($0)", "y") }) != .refused(.tooLarge))
    #expect(convert(Self.get + (0..<97).map { ("x\($0)", "y") }) == .refused(.tooLarge))
    #expect(convert(Self.get + [("x", String(repeating: "y", count: 33_000))]) == .refused(.tooLarge))
  }

  /// Fields of good and bad pieces: what is converted is a whole head, which the scanner takes to its end with the framing
  /// and the host that the fields gave, or refuses; it never finds more or less in it.
  @Test("what is converted is one head", arguments: 0..<100)
  func walk(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "h2")
    let names = [
      "x", "cookie", "host", "content-length", "te", "x_y", "content_length", "expect", "x-forwarded-for", "a:b", "A",
      "x\r\ny", "range",
    ]
    let values = [
      "", "1", "a", "trailers", "100-continue", "a\r\nb: c", " x", "x\ny", "x\0", "\u{e9}", "a, b", "0", "7",
    ]
    let paths = ["/", "/a/../b", "/a//b", "/?x", "*", "/a%00", "/%C3%A9", "/x y", "/x\r\n", "", "/a?b#c"]
    for step in 0..<200 {
      var fields: [(String, String)] = [
        (":method", random.chance(0.9) ? "POST" : "OPTIONS"), (":scheme", "http"),
        (":path", paths[random.index(below: paths.count)]),
        (":authority", random.chance(0.9) ? "a" : "b:1"),
      ]
      for _ in 0..<random.index(below: 4) {
        fields.append((names[random.index(below: names.count)], values[random.index(below: values.count)]))
      }
      var bytes = fields.map { (Array($0.0.utf8), Array($0.1.utf8)) }
      if random.chance(0.3) {
        let at = random.index(below: bytes.count)
        let byte = UInt8(random.index(below: 256))
        if random.chance(0.5) { bytes[at].0.append(byte) } else { bytes[at].1.append(byte) }
      }
      let ends = random.chance(0.5)
      guard case .head(let text) = convert(bytes, endsStream: ends) else { continue }
      let head = Array(text.utf8)
      let (outcome, scanned) = scan(head + Array("GET /smuggled HTTP/1.1\r\n".utf8))
      #expect(outcome != .needMore, "seed \(seed) step \(step)")
      guard outcome == .complete else { continue }
      #expect(scanned.length == head.count, "seed \(seed) step \(step)")
      #expect(ends ? scanned.framing == .none : true, "seed \(seed) step \(step)")
      #expect(part(text, scanned.host) == String(decoding: bytes[3].1, as: UTF8.self), "seed \(seed) step \(step)")
    }
  }

  // H2.CL: the data is held against what was declared.
  @Test func bodyLength() {
    var length = H2BodyLength(declared: 4)
    let first = length.take(3)
    #expect(first && !length.ends())
    let second = length.take(1)
    #expect(second && length.ends())
    let third = length.take(1)
    #expect(!third)
    var open = H2BodyLength()
    let any = open.take(1 << 40)
    #expect(any && open.ends())
  }
}

@Suite struct H2ResponseTests {
  static func convert(_ fields: [(String, String)], endsStream: Bool = false, toHead: Bool = false) -> Converted {
    var response = H2Response()
    response.begin()
    for (name, value) in fields {
      if let mistake = response.add(Array(name.utf8).span, Array(value.utf8).span) { return .refused(mistake) }
    }
    var out = HeadBuffer()
    if let mistake = response.finish(endsStream: endsStream, toHead: toHead, into: &out) { return .refused(mistake) }
    let text = WeirWireTests.text(out)
    let (outcome, head) = answer(text, toHead: toHead)
    #expect(outcome == .complete)
    #expect(head.length == text.utf8.count)
    if endsStream { #expect(head.framing == .none) }
    #expect(head.flags.contains(.keepAlive))
    return .head(text)
  }

  @Test func canonical() {
    let ok = [(":status", "200")]
    #expect(Self.convert(ok + [("a", "b")]) == .head("HTTP/1.1 200 \r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"))
    #expect(Self.convert(ok, endsStream: true) == .head("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"))
    #expect(Self.convert(ok + [("content-length", "3")]) == .head("HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n"))
    #expect(
      Self.convert(ok + [("content-length", "3")], endsStream: true, toHead: true)
        == .head("HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n"))
    #expect(Self.convert([(":status", "204")], endsStream: true) == .head("HTTP/1.1 204 \r\n\r\n"))
    #expect(Self.convert([(":status", "103"), ("link", "x")]) == .head("HTTP/1.1 103 \r\nlink: x\r\n\r\n"))
    #expect(
      Self.convert([(":status", "304"), ("content-length", "9")], endsStream: true)
        == .head("HTTP/1.1 304 \r\ncontent-length: 9\r\n\r\n"))
  }

  static let badAnswers: [([(String, String)], H2Mistake)] = [
    ([], H2Mistake.pseudoField), ([("a", "b")], .pseudoField), ([("a", "b"), (":status", "200")], .pseudoField),
    ([(":status", "200"), (":status", "200")], .pseudoField), ([(":path", "/")], .pseudoField),
    ([(":status", "20")], .status),
    ([(":status", "0200")], .status), ([(":status", "101")], .status), ([(":status", "600")], .status),
    ([(":status", "2 0")], .status),
    ([(":status", "200"), ("connection", "close")], .connectionField),
    ([(":status", "200"), ("te", "trailers")], .connectionField),
    ([(":status", "200"), ("transfer-encoding", "chunked")], .connectionField),
    ([(":status", "200"), ("A", "b")], .name),
    ([(":status", "200"), ("a", "b\r\nc")], .value), ([(":status", "200"), ("content-length", "x")], .contentLength),
  ]

  @Test("refuses", arguments: badAnswers)
  func refuses(_ fields: [(String, String)], _ mistake: H2Mistake) {
    #expect(Self.convert(fields) == .refused(mistake))
  }

  @Test func endOfStream() {
    #expect(Self.convert([(":status", "200"), ("content-length", "1")], endsStream: true) == .refused(.contentLength))
    #expect(Self.convert([(":status", "100")], endsStream: true) == .refused(.status))
  }

  @Test func trailers() {
    var trailers = H2Trailers()
    func add(_ name: String, _ value: String) -> H2Mistake? {
      trailers.add(Array(name.utf8).span, Array(value.utf8).span)
    }
    #expect(add("grpc-status", "0") == nil)
    #expect(add("grpc-message", "") == nil)
    #expect(add(":status", "200") == .pseudoField)
    #expect(add("content-length", "0") == .trailer)
    #expect(add("content_length", "0") == .trailer)
    #expect(add("host", "b") == .trailer)
    #expect(add("transfer-encoding", "chunked") == .connectionField)
    #expect(add("authorization", "x") == .trailer)
    #expect(add("x", "a\r\nb") == .value)
    #expect(add("X", "a") == .name)
    var out = HeadBuffer()
    trailers.finish(into: &out)
    #expect(text(out) == "0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n")
    var chunks = ChunkedScanner()
    var at = 0
    let end = chunks.skip(out.storage.span.extracting(0..<out.count), from: &at)
    #expect(end == .end(at: out.count))
  }
}

@Suite struct H2FieldListTests {
  static func pairs(_ list: H2FieldList) -> [String] {
    (0..<list.count).map {
      String(decoding: list.storage[list.name($0)], as: UTF8.self) + "="
        + String(decoding: list.storage[list.value($0)], as: UTF8.self)
    }
  }

  static func response(_ list: inout H2FieldList, _ text: String) -> Bool { list.response(Array(text.utf8).span) }
  static func request(_ list: inout H2FieldList, _ text: String) -> Bool {
    list.request(Array(text.utf8).span, isHTTPS: true)
  }
  static func trailers(_ list: inout H2FieldList, _ text: String) -> Bool { list.trailers(Array(text.utf8).span) }

  @Test func response() {
    var list = H2FieldList()
    let text =
      "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\nKeep-Alive: 1\r\nTransfer-Encoding: chunked\r\nX-A:  B \r\n\r\n"
    #expect(Self.response(&list, text))
    #expect(Self.pairs(list) == [":status=404", "content-length=3", "x-a=B"])
    #expect(!Self.response(&list, "HTTP/1.1 404 Not Found\r\nX: y\r\n"))
  }

  @Test func request() {
    var list = H2FieldList()
    let text = "POST /a?b HTTP/1.1\r\nHost: c\r\nTE: trailers\r\nContent-Type: application/grpc\r\nUpgrade: x\r\n\r\n"
    #expect(Self.request(&list, text))
    #expect(
      Self.pairs(list) == [
        ":method=POST", ":scheme=https", ":authority=c", ":path=/a?b", "content-type=application/grpc",
      ])
    #expect(!Self.request(&list, "GET / HTTP/1.1\r\n\r\n"))
    #expect(Self.trailers(&list, "Grpc-Status: 0\r\n\r\n"))
    #expect(Self.pairs(list) == ["grpc-status=0"])
  }
}
