// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

@Suite struct WebSocketHandshakeTests {
  static func request(
    _ fields: String = "", method: String = "GET", key: String? = "dGhlIHNhbXBsZSBub25jZQ==", version: String? = "13",
    upgrade: String = "websocket"
  ) -> String {
    var text = "\(method) /chat HTTP/1.1\r\nHost: a\r\nUpgrade: \(upgrade)\r\nConnection: Upgrade\r\n"
    if let key { text += "Sec-WebSocket-Key: \(key)\r\n" }
    if let version { text += "Sec-WebSocket-Version: \(version)\r\n" }
    return text + fields + "\r\n"
  }

  static func check(_ text: String) -> WebSocketHandshake.Checked {
    let bytes = Array(text.utf8)
    let (outcome, head) = scan(bytes)
    #expect(outcome == .complete)
    return WebSocketHandshake.check(bytes.span, head)
  }

  // The example of RFC 6455 §1.3.
  @Test func accepts() throws {
    guard case .good(let handshake) = Self.check(Self.request()) else {
      Issue.record("refused")
      return
    }
    let accept = (0..<28).map { handshake.accept[$0] }
    #expect(String(decoding: accept, as: UTF8.self) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(!handshake.offersExtensions)
  }

  static let badRequests: [(String, WebSocketHandshake.Mistake)] = [
    (request(upgrade: "websocket, h2c"), WebSocketHandshake.Mistake.otherProtocol),
    (request(upgrade: "TLS/1.0"), .otherProtocol),
    (request("Upgrade: websocket\r\n"), .otherProtocol), (request(method: "POST"), .request),
    (request("Content-Length: 3\r\n"), .request), (request("Transfer-Encoding: chunked\r\n"), .request),
    (request(version: "8"), .version), (request(version: nil), .version),
    (request("Sec-WebSocket-Version: 13\r\n"), .version),
    (request(key: nil), .key), (request(key: "dGhlIHNhbXBsZSBub25jZQ="), .key),
    (request(key: "dGhlIHNhbXBsZSBub25jZR=="), .key),
    (request(key: "dGhlIHNhbXBsZSBub25jZ!=="), .key),
    (request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), .key),
  ]

  @Test("refuses other requests", arguments: badRequests)
  func refuses(_ text: String, _ mistake: WebSocketHandshake.Mistake) { #expect(Self.check(text) == .refused(mistake)) }

  static func answered(_ fields: String, request: String = request()) -> WebSocketHandshake.Answered {
    guard case .good(let handshake) = check(request) else { return .declined }
    let text = fields.hasPrefix("HTTP") ? fields : "HTTP/1.1 101 Switching Protocols\r\n\(fields)\r\n"
    let (outcome, head) = answer(text)
    #expect(outcome == .complete)
    return handshake.check(Array(text.utf8).span, answer: head)
  }

  static let good =
    "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
  static let extended = request("Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n")

  @Test func answers() {
    #expect(Self.answered(Self.good) == .tunnel(.none))
    #expect(Self.answered("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") == .declined)
    #expect(Self.answered("Connection: Upgrade\r\n") == .refused(.upgrade))
    #expect(Self.answered(Self.good.replacing("Connection", with: "X")) == .refused(.upgrade))
    #expect(Self.answered(Self.good + "Upgrade: websocket\r\n") == .refused(.upgrade))
    #expect(Self.answered(Self.good.replacing("s3p", with: "S3p")) == .refused(.accept))
    #expect(Self.answered(Self.good + "Sec-WebSocket-Accept: a\r\n") == .refused(.accept))
    #expect(Self.answered(Self.good + "Sec-WebSocket-Extensions: permessage-deflate\r\n") == .refused(.unasked))
    #expect(Self.answered(Self.good + "Sec-WebSocket-Protocol: a\r\n") == .refused(.unasked))
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
    #expect(
      Self.answered(Self.good + deflate + "Sec-WebSocket-Protocol: a\r\n", request: Self.extended) == .tunnel(.deflate))
    #expect(
      Self.answered(Self.good + "Sec-WebSocket-Extensions: x-mux\r\n", request: Self.extended) == .tunnel(.unknown))
    let twice = "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"
    #expect(Self.answered(Self.good + twice, request: Self.extended) == .refused(.unasked))
  }

  // Scanned, cut and written again, a handshake is one still.
  @Test func passesOn() throws {
    let bytes = Array(Self.request().utf8)
    let (_, head) = scan(bytes)
    var out = HeadBuffer()
    out.appendRequest(bytes.span, head)
    out.appendUpgrade()
    out.append("\r\n")
    guard case .good = Self.check(text(out)) else {
      Issue.record("no handshake any more: \(text(out))")
      return
    }
  }
}

@Suite struct WebSocketFramesTests {
  static let mask: [UInt8] = [1, 2, 3, 4]

  /// A frame; `length` overrides how it is written.
  static func frame(
    _ first: UInt8, _ payload: [UInt8] = [], masked: Bool = true, long: Int = 0
  ) -> [UInt8] {
    var out: [UInt8] = [first]
    let bit: UInt8 = masked ? 0x80 : 0
    let count = payload.count
    if long == 8 || (long == 0 && count > 0xffff) {
      out.append(127 | bit)
      for i in 0..<8 { out.append(UInt8(truncatingIfNeeded: count >> (56 - i * 8))) }
    } else if long == 2 || (long == 0 && count > 125) {
      out += [126 | bit, UInt8(count >> 8), UInt8(count & 255)]
    } else {
      out.append(UInt8(count) | bit)
    }
    if masked { out += mask }
    return out + payload.enumerated().map { $1 ^ (masked ? mask[$0 & 3] : 0) }
  }

  /// All events of a stream that comes in pieces, without the waiting, and how much of it was taken.
  static func events(
    _ bytes: [UInt8], client: Bool = true, reserved: WebSocketFrames.Reserved = .none, most: Int64 = 1 << 20,
    piece: Int = .max
  ) -> ([WebSocketFrames.Event], Int) {
    var frames = WebSocketFrames(isClient: client, reserved: reserved, messageBytesMax: most)
    var events: [WebSocketFrames.Event] = []
    var taken = 0
    var come = 0
    var ended = false
    while come < bytes.count && !ended {
      come = piece == .max ? bytes.count : min(bytes.count, come + piece)
      let part = Array(bytes[taken..<come])
      var at = 0
      while true {
        let event = frames.next(part.span, from: &at)
        if event == .needMore { break }
        events.append(event)
        if case .refused = event {
          #expect(frames.isBetweenFrames)
          ended = true
          break
        }
      }
      taken += at
    }
    return (events, taken)
  }

  static let text = frame(0x81, Array("Hello".utf8))

  // RFC 6455 §5.7.
  @Test func examples() {
    let masked: [UInt8] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
    #expect(Self.events(masked) == ([.message(isText: true)], 11))
    let plain: [UInt8] = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]
    #expect(Self.events(plain, client: false) == ([.message(isText: true)], 7))
    let parts: [UInt8] = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f, 0x89, 0x00]
    #expect(Self.events(parts, client: false) == ([.message(isText: true), .ping], 11))
    let long = Self.frame(0x82, [UInt8](repeating: 0, count: 65_536), masked: false)
    #expect(Self.events(long, client: false) == ([.message(isText: false)], 65_546))
  }

  @Test("the same whatever the pieces", arguments: [1, 2, 3, 7, 13, 100])
  func pieces(_ size: Int) {
    let bye: [UInt8] = [0x03, 0xe8] + Array("bye ✓".utf8)
    let parts: [[UInt8]] = [
      Self.text, Self.frame(0x02, [1, 2, 3]), Self.frame(0x89, [9]), Self.frame(0x00), Self.frame(0x80, [4]),
      Self.frame(0x82, [UInt8](repeating: 7, count: 300)), Self.frame(0x8a), Self.frame(0x88, bye), Self.text,
    ]
    let bytes = parts.flatMap(\.self)
    let whole = Self.events(bytes)
    #expect(Self.events(bytes, piece: size) == whole)
    #expect(
      whole.0 == [
        .message(isText: true), .message(isText: false), .ping, .message(isText: false), .pong, .close(code: 1000),
      ])
    // Nothing behind the close frame is taken.
    #expect(whole.1 == bytes.count - Self.text.count)
  }

  static let bad: [([[UInt8]], WebSocketFrames.Mistake)] = [
    ([frame(0x81, masked: false)], WebSocketFrames.Mistake.mask), ([frame(0xc1)], .reserved),
    ([frame(0xa1)], .reserved),
    ([frame(0x91)], .reserved), ([frame(0x83)], .reserved), ([frame(0x87)], .reserved), ([frame(0x8b)], .reserved),
    ([frame(0x8f)], .reserved),
    ([frame(0x81, [1], long: 2)], .reserved), ([frame(0x81, [1], long: 8)], .reserved),
    ([frame(0x81, [UInt8](repeating: 0, count: 300), long: 8)], .reserved),
    ([[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]], .reserved),
    ([frame(0x09)], .control), ([frame(0x08)], .control), ([frame(0x89, [UInt8](repeating: 0, count: 126))], .control),
    ([frame(0x80)], .fragment), ([frame(0x00)], .fragment), ([frame(0x01), frame(0x81)], .fragment),
    ([frame(0x02), frame(0x89), frame(0x02)], .fragment),
    ([frame(0x88, [3])], .close), ([frame(0x88, [0, 0])], .close), ([frame(0x88, [3, 0xe7])], .close),
    ([frame(0x88, [3, 0xec])], .close),
    ([frame(0x88, [3, 0xed])], .close), ([frame(0x88, [3, 0xee])], .close), ([frame(0x88, [3, 0xf7])], .close),
    ([frame(0x88, [0x0b, 0xb7])], .close), ([frame(0x88, [0x13, 0x88])], .close),
    ([frame(0x88, [3, 0xe8, 0xff])], .close),
    ([frame(0x88, [3, 0xe8, 0xe2, 0x9c])], .close), ([frame(0x88, [3, 0xe8, 0xed, 0xa0, 0x80])], .close),
    ([frame(0x82, [UInt8](repeating: 0, count: 1001))], .tooLarge),
    ([frame(0x02, [UInt8](repeating: 0, count: 600)), frame(0x80, [UInt8](repeating: 0, count: 401))], .tooLarge),
    ([[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]], .tooLarge),
  ]

  @Test("refuses, between frames", arguments: bad)
  func refuses(_ parts: [[UInt8]], _ mistake: WebSocketFrames.Mistake) {
    let bytes = parts.flatMap(\.self)
    let before = Self.frame(0x8a, [5])
    let (events, taken) = Self.events(before + bytes, most: 1000)
    #expect(events.last == .refused(mistake))
    #expect(taken <= before.count + bytes.count)
    let slow = Self.events(before + bytes, most: 1000, piece: 1)
    #expect(slow.0 == events && slow.1 == taken)
  }

  @Test("close codes that may be sent", arguments: [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
  func codes(_ code: Int) {
    let bytes = Self.frame(0x88, [UInt8(code >> 8), UInt8(code & 255)])
    #expect(Self.events(bytes).0 == [.close(code: UInt16(code))])
  }

  @Test func reservedBits() {
    #expect(Self.events(Self.frame(0xc1), reserved: .deflate).0 == [.message(isText: true)])
    #expect(Self.events(Self.frame(0x41) + Self.frame(0xc0), reserved: .deflate).0.last == .refused(.reserved))
    #expect(Self.events(Self.frame(0xc9), reserved: .deflate).0 == [.refused(.reserved)])
    #expect(Self.events(Self.frame(0xa1), reserved: .deflate).0 == [.refused(.reserved)])
    #expect(Self.events(Self.frame(0xf1), reserved: .unknown).0 == [.message(isText: true)])
    #expect(Self.events(Self.frame(0x81), client: false).0 == [.refused(.mask)])
  }

  @Test func limitIsReached() {
    let exact =
      Self.frame(0x02, [UInt8](repeating: 0, count: 600)) + Self.frame(0x80, [UInt8](repeating: 0, count: 400))
    #expect(Self.events(exact + exact, most: 1000).0 == [.message(isText: false), .message(isText: false)])
  }

  // Our close frames are read by our own scanner.
  @Test func writesClose() {
    for (code, mask) in [(UInt16(1001), UInt32?.none), (1008, 0xdead_beef), (1009, 7)] {
      var out = HeadBuffer()
      out.appendClose(code: code, reason: "too large", mask: mask)
      let bytes = Array(out.storage.prefix(out.count))
      #expect(Self.events(bytes, client: mask != nil) == ([.close(code: code)], bytes.count))
    }
  }
}
