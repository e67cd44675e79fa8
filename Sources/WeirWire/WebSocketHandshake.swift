// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// The opening handshake of WebSocket (RFC 6455 §4), checked on scanned heads.
///
/// The scanners drop `Connection` and `Upgrade`; who passes a handshake on writes them again with
/// ``HeadBuffer/appendUpgrade()`` behind the kept lines.
public struct WebSocketHandshake: Sendable, Equatable, BitwiseCopyable {
  public enum Mistake: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    /// `Upgrade` asks for something else than only `websocket`: 501.
    case otherProtocol
    /// Not a `GET` of HTTP/1.1, or with a body: bytes after the head would be read as body by one and as frames by another.
    case request
    /// `Sec-WebSocket-Key` is not one value of 16 bytes in base64.
    case key
    /// `Sec-WebSocket-Version` is not one `13`: 426, with `Sec-WebSocket-Version: 13` (§4.4).
    case version
    /// The answer is 101 without being a WebSocket's.
    case upgrade
    /// `Sec-WebSocket-Accept` is not the key's.
    case accept
    /// The answer agrees to an extension or protocol that was not offered, or to more than one protocol.
    case unasked
  }

  public enum Checked: Sendable, Equatable, BitwiseCopyable {
    case good(WebSocketHandshake)
    case refused(Mistake)
  }

  public enum Answered: Sendable, Equatable, BitwiseCopyable {
    /// Frames follow; their reserved bits are used by what was agreed.
    case tunnel(WebSocketFrames.Reserved)
    /// An ordinary answer: the upgrade was declined.
    case declined
    case refused(Mistake)
  }

  /// What `Sec-WebSocket-Accept` must be.
  public var accept: FixedArray<28, UInt8>
  public var offersExtensions: Bool
  public var offersProtocols: Bool

  // MARK: Request

  /// Checks a request whose head has ``RequestHead/Flags/upgrade``.
  public static func check(_ bytes: Span<UInt8>, _ head: RequestHead) -> Checked {
    var fields = Fields(head)
    var isUpgrade = false
    var key = Fields.Found.none
    var version = Fields.Found.none
    var extensions = false
    var protocols = false
    while let field = fields.next(bytes) {
      let from = Int(field.name.start)
      let to = Int(field.name.end)
      if Grammar.matches(bytes, from, to, "upgrade") {
        let isWebSocket = Grammar.matches(bytes, Int(field.value.start), Int(field.value.end), "websocket")
        if isUpgrade || !isWebSocket { return .refused(.otherProtocol) }
        isUpgrade = true
      } else if Grammar.matches(bytes, from, to, "sec-websocket-key") {
        key = key == .none ? .one(field.value) : .many
      } else if Grammar.matches(bytes, from, to, "sec-websocket-version") {
        version = version == .none ? .one(field.value) : .many
      } else if Grammar.matches(bytes, from, to, "sec-websocket-extensions") {
        extensions = true
      } else if Grammar.matches(bytes, from, to, "sec-websocket-protocol") {
        protocols = true
      }
    }
    if !isUpgrade { return .refused(.otherProtocol) }
    if head.method != .get || head.framing != .none || head.flags.contains(.http10) { return .refused(.request) }
    guard let version = version.run, Grammar.matches(bytes, Int(version.start), Int(version.end), "13") else {
      return .refused(.version)
    }
    guard let key = key.run, isKey(bytes, key) else { return .refused(.key) }
    return .good(
      WebSocketHandshake(
        accept: accept(bytes, key), offersExtensions: extensions, offersProtocols: protocols))
  }

  /// 22 letters and `==`, the last letter without surplus bits: 16 bytes.
  static func isKey(_ bytes: Span<UInt8>, _ run: Run) -> Bool {
    let start = Int(run.start)
    guard run.count == 24, bytes[start + 22] == 0x3d, bytes[start + 23] == 0x3d else { return false }
    for i in 0..<22 where Base64.value(bytes[start + i]) == 255 { return false }
    return Base64.value(bytes[start + 21]) & 15 == 0
  }

  /// base64(SHA-1(key · GUID)) (§4.2.2).
  static func accept(_ bytes: Span<UInt8>, _ key: Run) -> FixedArray<28, UInt8> {
    let guid: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    var text = InlineArray<60, UInt8>(repeating: 0)
    for i in 0..<24 { text[i] = bytes[Int(key.start) + i] }
    for i in 0..<36 { text[24 + i] = Load.byte(guid, i) }
    let digest = SHA1.of(text.span)
    var out = FixedArray<28, UInt8>(repeating: 0x3d)
    func byte(_ i: Int) -> UInt32 { i < 20 ? digest[i >> 2] >> UInt32(24 - (i & 3) * 8) & 255 : 0 }
    for group in 0..<7 {
      let word = byte(group * 3) << 16 | byte(group * 3 + 1) << 8 | byte(group * 3 + 2)
      // 20 bytes are 26 letters and two thirds: the last of 28 is padding.
      for i in 0..<4 where group * 4 + i < 27 { out[group * 4 + i] = Base64.letter(word >> UInt32(18 - i * 6)) }
    }
    return out
  }

  // MARK: Answer

  /// Checks the callee's answer to the handshake that was passed on.
  public func check(_ bytes: Span<UInt8>, answer head: ResponseHead) -> Answered {
    if head.status != 101 { return .declined }
    if head.flags.contains(.http10) { return .refused(.upgrade) }
    var fields = Fields(head)
    var upgrades = 0
    var isUpgrade = false
    var isConnection = false
    var accepted = Fields.Found.none
    var reserved = WebSocketFrames.Reserved.none
    var protocols = 0
    while let field = fields.next(bytes) {
      let from = Int(field.name.start)
      let to = Int(field.name.end)
      let value = Int(field.value.start)
      let end = Int(field.value.end)
      if Grammar.matches(bytes, from, to, "upgrade") {
        upgrades += 1
        isUpgrade = Grammar.matches(bytes, value, end, "websocket")
      } else if Grammar.matches(bytes, from, to, "connection") {
        var list = TokenList(value, end)
        while case .token(let a, let b) = list.next(bytes) {
          if Grammar.matches(bytes, a, b, "upgrade") { isConnection = true }
        }
      } else if Grammar.matches(bytes, from, to, "sec-websocket-accept") {
        accepted = accepted == .none ? .one(field.value) : .many
      } else if Grammar.matches(bytes, from, to, "sec-websocket-extensions") {
        if value == end { continue }
        if !offersExtensions { return .refused(.unasked) }
        reserved = reserved.joined(WebSocketHandshake.reserved(bytes, value, end))
      } else if Grammar.matches(bytes, from, to, "sec-websocket-protocol") {
        protocols += 1
        if !offersProtocols || protocols > 1 { return .refused(.unasked) }
      }
    }
    if !isUpgrade || upgrades != 1 || !isConnection { return .refused(.upgrade) }
    guard let run = accepted.run, run.count == 28 else { return .refused(.accept) }
    for i in 0..<28 where bytes[Int(run.start) + i] != accept[i] { return .refused(.accept) }
    return .tunnel(reserved)
  }

  /// `permessage-deflate` alone uses RSV1 (RFC 7692 §6); what others use we do not know.
  private static func reserved(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> WebSocketFrames.Reserved {
    var i = start
    while i < end && Grammar.isToken(bytes[i]) { i += 1 }
    guard Grammar.matches(bytes, start, i, "permessage-deflate") else { return .unknown }
    while i < end && bytes[i] != 0x2c { i += 1 }
    return i == end ? .deflate : .unknown
  }
}

extension HeadBuffer {
  /// `Connection` and `Upgrade` of a handshake that is passed on, in either direction.
  public mutating func appendUpgrade() { append("Connection: Upgrade\r\nUpgrade: websocket\r\n") }
}
