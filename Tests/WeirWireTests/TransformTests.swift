// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

/// A GET with these fields, scanned.
func get(_ fields: String, target: String = "/", from sender: RequestScanner.Sender = []) -> ([UInt8], RequestHead) {
  let bytes = Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8)
  let (outcome, head) = scan(bytes, from: sender)
  #expect(outcome == .complete)
  return (bytes, head)
}

func slice(_ bytes: [UInt8], _ run: Run?) -> String? { run.map { String(decoding: bytes[$0.range], as: UTF8.self) } }

@Suite struct HeadEditsTests {
  @Test func setsAddsRemoves() throws {
    let edits = try HeadEdits(set: [("X-A", "new")], add: [("X-B", "more")], remove: ["server"])
    var (bytes, head) = get("x-a: 1\r\nX-B: 2\r\nConnection: close\r\nServer: s\r\nX-a: 3\r\nZ: 4\r\n")
    let found = head.drop(bytes.span, edits.dropped)
    #expect(found == 3)
    var out = HeadBuffer()
    out.appendRequest(bytes.span, head)
    out.append(edits.lines)
    #expect(text(out) == "GET / HTTP/1.1\r\nHost: a\r\nX-B: 2\r\nZ: 4\r\nX-A: new\r\nX-B: more\r\n")
  }

  @Test(
    "names that are not for edits",
    arguments: [
      "Host", "content-length", "Transfer-Encoding", "connection", "upgrade", "te", "X-Forwarded-For", "Forwarded",
      "weir-deadline",
      "content_length", "traceparent",
    ])
  func reserved(_ name: String) {
    #expect(throws: HeadEdits.Mistake.name(.reserved(name))) { try HeadEdits(remove: [name]) }
  }

  @Test func badTexts() {
    #expect(throws: HeadEdits.Mistake.name(.malformed("a b"))) { try HeadEdits(set: [("a b", "x")]) }
    #expect(throws: HeadEdits.Mistake.value("a\r\nb: c")) { try HeadEdits(set: [("a", "a\r\nb: c")]) }
    #expect(throws: HeadEdits.Mistake.value(" a")) { try HeadEdits(add: [("a", " a")]) }
    var out = HeadBuffer()
    let bad = out.appendField(Array("a".utf8), Array("b\nc".utf8).span)
    #expect(!bad && out.count == 0)
    let good = out.appendField(Array("a".utf8), Array("b".utf8).span)
    #expect(good)
    #expect(text(out) == "a: b\r\n")
  }

  /// Any lines of a head dropped in any order: what is left is what a filter leaves.
  @Test func walk() throws {
    for seed in 0..<300 {
      var random = SeededRandom(seed: UInt64(seed), stream: "drop")
      var lines: [(String, String)] = []
      let pool = ["a", "b", "c", "connection", "te", "x-forwarded-for"]
      for _ in 0..<random.index(below: 98) { lines.append((pool[random.index(below: pool.count)], "close")) }
      var (bytes, head) = get(lines.map { "\($0.0): \($0.1)\r\n" }.joined())
      var gone: Set<String> = ["connection", "te", "x-forwarded-for"]
      for name in ["b", "c", "a"] where random.chance(0.6) {
        head.drop(bytes.span, try FieldNames([name]))
        gone.insert(name)
      }
      var out = HeadBuffer()
      out.appendRequest(bytes.span, head)
      let kept = lines.filter { !gone.contains($0.0) }.map { "\($0.0): \($0.1)\r\n" }.joined()
      #expect(text(out) == "GET / HTTP/1.1\r\nHost: a\r\n" + kept, "seed \(seed)")
    }
  }
}

@Suite struct CookieAndQueryTests {
  @Test func cookies() {
    let (bytes, head) = get("Cookie: a=1; b=\"x\" ;c\r\nAccept: x\r\nCookie: d = 4; ab=5\r\n")
    func find(_ name: String) -> String? { slice(bytes, Cookies.find(bytes.span, head, Array(name.utf8)).run) }
    #expect(find("a") == "1")
    #expect(find("b") == "x")
    #expect(find("c") == "")
    #expect(find("d") == "4")
    #expect(find("A") == nil)
    let (two, twice) = get("Cookie: a=1; a=2\r\n")
    let many = Cookies.find(two.span, twice, [0x61])
    #expect(many == .many)
    var out = HeadBuffer()
    out.appendCookies(bytes.span, head, without: Array("b".utf8))
    #expect(text(out) == "Cookie: a=1; c; d = 4; ab=5\r\n")
    let (one, alone) = get("Cookie: a=1\r\n")
    out.clear()
    out.appendCookies(one.span, alone, without: [0x61])
    #expect(out.count == 0)
  }

  static let parameters: [(String, String, String?)] = [
    ("/?a=1&b=2", "b", "2"), ("/?%61=1", "a", "1"), ("/?a+b=x", "a b", "x"), ("/?a", "a", ""), ("/?=1", "", "1"),
    ("/?a==b", "a", "=b"),
    ("/?&&a=1&", "a", "1"), ("/?a=1&a=2", "a", nil), ("/?a=1&%61=2", "a", nil), ("/?%6=1", "a", nil), ("/", "a", nil),
    ("/?ab=1", "a", nil),
  ]

  @Test("finds parameters by their meaning", arguments: parameters)
  func finds(_ target: String, _ name: String, _ value: String?) {
    let (bytes, head) = get("", target: target)
    let found = Query.find(bytes.span, head.query, Array(name.utf8))
    #expect(slice(bytes, found.run) == value)
  }

  @Test func editsTargets() {
    func edit(_ target: String, _ value: String?) -> String {
      let (bytes, head) = get("", target: target)
      var out = HeadBuffer()
      out.appendTarget(bytes.span, head.path, head.query, name: Array("v".utf8), value: value.map { Array($0.utf8) })
      return text(out)
    }
    #expect(edit("/x?a=%41&v=1&b", nil) == "/x?a=%41&b")
    #expect(edit("/x?v=1&%76=2", nil) == "/x")
    #expect(edit("/x", "a b&c/\u{e9}~") == "/x?v=a%20b%26c%2F%C3%A9~")
    #expect(edit("/x?v=1&b=2", "3") == "/x?b=2&v=3")
  }

  @Test func decodes() {
    func decode(_ text: String) -> String? {
      let bytes = Array(text.utf8)
      var out = HeadBuffer()
      let isGood = Query.decode(bytes.span, Run(0, bytes.count), into: &out)
      return isGood ? WeirWireTests.text(out) : nil
    }
    #expect(decode("a%20b+c%2f") == "a b c/")
    for bad in ["%", "%2", "%zz", "%00", "%0a", "a%7f"] { #expect(decode(bad) == nil) }
  }
}

@Suite struct NegotiationTests {
  static let codings: [(String?, ContentCoding?)] = [
    (nil, .identity), ("", .identity), ("gzip", .gzip), ("gzip, br", .brotli), ("gzip, br, zstd", .zstd),
    ("br;q=0.5, gzip", .gzip),
    ("br;q=0.5, gzip;q=0.5", .brotli), ("*", .zstd), ("*;q=0.1, gzip;q=0.2", .gzip), ("zstd;q=0, *", .brotli),
    ("identity;q=0", nil),
    ("*;q=0", nil), ("identity;q=0, gzip", .gzip), ("*;q=0, identity", .identity), ("gzip;q=0", .identity),
    ("X-GZIP", .gzip),
    ("gzip;q=0.5, identity", .identity), ("gzip;q=2", .identity), ("gzip;q=abc", .identity), ("gzip;Q=0.8", .gzip),
    ("deflate", .identity),
    ("gzip;q=0.0001", .identity), ("gzip ; q=1.000", .gzip), ("gzip;q=1.001", .identity), ("gzip;q=", .identity),
  ]

  @Test("chooses a coding", arguments: codings)
  func chooses(_ field: String?, _ expected: ContentCoding?) {
    let (bytes, head) = get(field.map { "Accept-Encoding: \($0)\r\n" } ?? "")
    let chosen = ContentCoding.choose(bytes.span, head, offered: [.gzip, .brotli, .zstd])
    #expect(chosen == expected)
  }

  @Test func onlyWhatIsOffered() {
    let (bytes, head) = get("Accept-Encoding: br, zstd\r\nAccept-Encoding: gzip;q=0.1\r\n")
    let one = ContentCoding.choose(bytes.span, head, offered: [.gzip])
    let none = ContentCoding.choose(bytes.span, head, offered: [])
    #expect(one == .gzip && none == .identity)
  }

  @Test func versions() {
    func version(_ accept: String) -> String? {
      let (bytes, head) = get("Accept: \(accept)\r\n")
      return slice(bytes, MediaType.accepted(bytes.span, head, parameter: "version"))
    }
    #expect(version("application/json;version=2") == "2")
    #expect(version("application/json; version=\"2\"") == "2")
    #expect(version("a/b;version=1;q=0.5, a/c;Version=3;q=0.9") == "3")
    #expect(version("a/b;version=1;q=0, */*") == nil)
    #expect(version("a/b;x=\",;version=7\"") == nil)
    let (bytes, head) = get("Accept: text/html, application/Vnd.Shop.v2+json;q=0.5\r\n")
    let named = MediaType.accepted(bytes.span, head, after: Array("application/vnd.shop.".utf8))
    #expect(slice(bytes, named) == "v2+json")
  }

  @Test func types() {
    let bytes = Array("Application/gRPC+proto ;x=y".utf8)
    let run = Run(0, bytes.count)
    let matches = [
      MediaType.matches(bytes.span, run, "application/grpc+proto"),
      MediaType.matches(bytes.span, run, "application/grpc"),
      MediaType.matches(bytes.span, run, Array("application/grpc*".utf8)),
      MediaType.matches(bytes.span, run, Array("text/*".utf8)),
    ]
    #expect(matches == [true, false, true, false])
  }

  @Test(
    "weak tags",
    arguments: [
      ("\"a\"", "ETag: W/\"a\"\r\n"), ("W/\"a\"", "ETag: W/\"a\"\r\n"), ("a", ""), ("\"", ""), ("\"a\"b\"", ""),
      ("\"\"", "ETag: W/\"\"\r\n"),
    ])
  func tags(_ tag: String, _ written: String) {
    var out = HeadBuffer()
    let bytes = Array(tag.utf8)
    out.appendWeakTag(bytes.span, Run(0, bytes.count))
    #expect(text(out) == written)
  }

  @Test func vary() {
    func has(_ fields: String) -> Bool {
      let text = "HTTP/1.1 200 OK\r\n\(fields)\r\n"
      return Vary.has(Array(text.utf8).span, answer(text).1, "accept-encoding")
    }
    #expect(has("Vary: Origin, Accept-ENCODING\r\n"))
    #expect(has("Vary: *\r\n"))
    #expect(has("Vary: a\r\nVary: accept-encoding\r\n"))
    #expect(!has("Vary: Accept\r\n"))
    #expect(!has(""))
  }

  @Test func cors() throws {
    let text =
      "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, X-B\r\n\r\n"
    let bytes = Array(text.utf8)
    let cors = CORSRequest(bytes.span, scan(bytes).1)
    #expect(cors.isPreflight)
    #expect(slice(bytes, cors.origin.run) == "https://b")
    #expect(slice(bytes, cors.method.run) == "PUT")
    let both = cors.asksOnly(for: try FieldNames(["X-A", "x-b"]), bytes.span)
    let one = cors.asksOnly(for: try FieldNames(["X-A"]), bytes.span)
    #expect(both && !one)
    let (two, head) = get("Origin: a\r\nOrigin: b\r\n")
    let doubled = CORSRequest(two.span, head)
    #expect(doubled.origin == .many && !doubled.isPreflight)
  }
}

@Suite struct CredentialsTests {
  static func read(_ fields: String) -> (Credentials, [UInt8], HeadBuffer) {
    let (bytes, head) = get(fields)
    var scratch = HeadBuffer()
    return (Credentials.read(bytes.span, head, scratch: &scratch), bytes, scratch)
  }

  // RFC 7617 §2.
  @Test func basic() {
    let (found, _, scratch) = Self.read("Authorization: basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n")
    guard case .basic(let user, let password) = found else {
      Issue.record("\(found)")
      return
    }
    #expect(slice(scratch.storage, user) == "Aladdin")
    #expect(slice(scratch.storage, password) == "open sesame")
  }

  @Test func bearer() {
    let (found, bytes, _) = Self.read("Authorization: Bearer  abc.D-_~+/==\r\n")
    guard case .bearer(let run) = found else {
      Issue.record("\(found)")
      return
    }
    #expect(slice(bytes, run) == "abc.D-_~+/==")
    #expect(Self.read("").0 == .none)
    if case .other = Self.read("Authorization: Digest a=b\r\n").0 {} else { Issue.record("a scheme of its own") }
  }

  @Test(
    "malformed",
    arguments: [
      "Basic", "Basic QWxhZGRpbg==", "Basic QWxhZGRpbjpv ZQ==", "Basic QTpi=", "Basic QTo", "Basic QTp=", "Basic QTq=",
      "Basic Og", "Basic QQA6", "Basic !!!!", "Basic QTpiQTpi=QTp", "Bearer", "Bearer a b", "Bearer a=b", "Bearer =",
      "Bearer a,b", "\"x\" y",
    ])
  func malformed(_ value: String) { #expect(Self.read("Authorization: \(value)\r\n").0 == .malformed) }

  @Test func twice() {
    #expect(Self.read("Authorization: Bearer a\r\nAuthorization: Bearer a\r\n").0 == .malformed)
  }

  // RFC 4648 §10.
  static let vectors: [(String, String?)] = [
    ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba"),
    ("Zm9vYmFy", "foobar"),
    ("Zh==", nil), ("Zm9=", nil), ("Zg=", nil), ("Zg", nil), ("Zg==Zg==", nil), ("Zm9v\n", nil), ("Zm-_", nil),
    ("====", nil), ("Z===", nil),
  ]

  @Test("base64", arguments: vectors)
  func base64(_ given: String, _ expected: String?) {
    let bytes = Array(given.utf8)
    var out = HeadBuffer()
    let isGood = Base64.decode(bytes.span, 0..<bytes.count, into: &out)
    #expect((isGood ? text(out) : nil) == expected)
    if !isGood { #expect(out.count == 0) }
  }
}

@Suite struct ForwardedHopsTests {
  static func hops(_ fields: String, forwarded: Bool = false) -> [String] {
    let (bytes, head) = get(fields, from: [.proxy])
    var hops = forwarded ? ForwardedHops(forwarded: head.forwarded) : ForwardedHops(forwardedFor: head.forwardedFor)
    var out: [String] = []
    while out.count < 10 {
      switch hops.next(bytes.span) {
      case .end: return out
      case .unknown: out.append("?")
      case .address(let address): out.append(text(address))
      }
    }
    return out
  }

  @Test func forwardedFor() {
    #expect(
      Self.hops("X-Forwarded-For: 1.1.1.1, 2.2.2.2:80\r\nX-Forwarded-For: ::1 ,x\r\n") == [
        "?", "::1 0", "2.2.2.2 80", "1.1.1.1 0",
      ])
    #expect(Self.hops("") == [])
    #expect(Self.hops("X-Forwarded-For: 1.1.1.1,,2.2.2.2\r\n") == ["2.2.2.2 0", "?", "1.1.1.1 0"])
    #expect(Self.hops("X-Forwarded-For: ::ffff:9.9.9.9\r\n") == ["9.9.9.9 0"])
  }

  // Found by fuzzing: an open quote and an escape were told again and again.
  @Test("what cannot be read ends the chain", arguments: ["1.1.1.1, for=\"x", "1.1.1.1, \"a\\\"b\""])
  func broken(_ value: String) {
    #expect(Self.hops("X-Forwarded-For: \(value)\r\n") == ["?"])
    #expect(Self.hops("Forwarded: for=1.1.1.1\r\nForwarded: \(value)\r\n", forwarded: true) == ["?"])
  }

  // RFC 7239 §4 and §6.
  @Test func forwarded() {
    #expect(
      Self.hops(
        "Forwarded: for=192.0.2.43, For=\"[2001:db8:cafe::17]:4711\";proto=http, for=unknown\r\n", forwarded: true)
        == ["?", "2001:db8:cafe::17 4711", "192.0.2.43 0"])
    #expect(
      Self.hops(
        "Forwarded: by=1.1.1.1\r\nForwarded: proto=http;for=2.2.2.2;host=\"a,for=3.3.3.3\"\r\n", forwarded: true) == [
          "2.2.2.2 0", "?",
        ])
  }
}
