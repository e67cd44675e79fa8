// SPDX-License-Identifier: Apache-2.0

/// Reads the frames' headers of one direction of a WebSocket (RFC 6455 §5) in a stream of bytes that passes unchanged.
///
/// Payloads are not looked at, but for close frames. Text is checked for UTF-8 by its receiver, who may have to inflate it
/// first.
///
/// ## Invariants
/// 1. A header, and a whole close frame, is taken at once or not at all (at most 139 bytes wait): a refusal comes between
///    two frames, where a close frame of ours can be put.
/// 2. What is taken does not depend on how the bytes were split.
/// 3. After `refused` or a close frame nothing more is taken.
public struct WebSocketFrames: Sendable, Equatable, BitwiseCopyable {
  /// Which reserved bits of a header may be set.
  public enum Reserved: UInt8, Sendable, BitwiseCopyable {
    case none
    /// RSV1 on the first frame of a message.
    case deflate
    /// An extension that we do not know was agreed: any bit, on any frame.
    case unknown

    func joined(_ other: Reserved) -> Reserved {
      self == .none ? other : (other == .none ? self : .unknown)
    }
  }

  public enum Mistake: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    /// A reserved bit, opcode or a length that is not in its shortest form.
    case reserved
    /// A client's frame without a mask, or a server's with one.
    case mask
    /// A control frame that is fragmented or has more than 125 bytes.
    case control
    /// A continuation of nothing, or a new message within another.
    case fragment
    /// A close frame with one byte, or with a code that may not be sent, or a reason that is not UTF-8.
    case close
    /// A message longer than the limit.
    case tooLarge

    /// What a close frame says of it (§7.4.1).
    public var code: UInt16 { self == .tooLarge ? 1009 : 1002 }
  }

  public enum Event: Sendable, Equatable, BitwiseCopyable {
    /// A data message begins: what its rate is limited by.
    case message(isText: Bool)
    case ping
    case pong
    /// A close frame; 1005 stands for none given.
    case close(code: UInt16)
    /// The bytes before `at` may go on; the rest waits for more.
    case needMore
    case refused(Mistake)
  }

  private let isClient: Bool
  private let reserved: Reserved
  private let messageBytesMax: UInt64
  private var remaining: UInt64 = 0
  private var messageBytes: UInt64 = 0
  private var isInMessage = false
  private var hasEnded = false
  /// Data messages that have begun.
  public private(set) var messages: UInt64 = 0
  /// Bytes of the header that was taken last: what has come of a message that is not wanted after all.
  public private(set) var headerBytes = 0

  /// - Parameters:
  ///   - isClient: these are the client's frames, which are masked.
  ///   - messageBytesMax: of all frames of a message together, compressed if they are.
  public init(isClient: Bool, reserved: Reserved, messageBytesMax: Int64) {
    self.isClient = isClient
    self.reserved = reserved
    self.messageBytesMax = UInt64(max(0, messageBytesMax))
  }

  /// Bytes that are still to come of the frame under way.
  public var left: UInt64 { remaining }

  /// Nothing more is taken: a close frame has passed, or something was refused.
  public var isOver: Bool { hasEnded }

  /// Whether what was taken ends with a frame: only here may a frame of ours be put.
  public var isBetweenFrames: Bool { remaining == 0 }

  /// What comes next from `at` on; moves `at` past what was taken, which may go on.
  public mutating func next(_ bytes: Span<UInt8>, from at: inout Int) -> Event {
    while at < bytes.count && !hasEnded {
      if remaining > 0 {
        let taken = min(remaining, UInt64(bytes.count - at))
        remaining -= taken
        at += Int(taken)
        continue
      }
      guard let header = header(bytes, at) else { return .needMore }
      if let mistake = check(header) {
        hasEnded = true
        return .refused(mistake)
      }
      if header.opcode == 8 {
        let end = at + header.bytes + Int(header.length)
        if end > bytes.count { return .needMore }
        hasEnded = true
        guard let code = closeCode(bytes, at, header) else { return .refused(.close) }
        at = end
        return .close(code: code)
      }
      at += header.bytes
      headerBytes = header.bytes
      remaining = header.length
      switch header.opcode {
      case 9: return .ping
      case 10: return .pong
      default: break
      }
      messageBytes = header.opcode == 0 ? messageBytes + header.length : header.length
      isInMessage = !header.isLast
      if header.opcode != 0 {
        messages += 1
        return .message(isText: header.opcode == 1)
      }
    }
    return .needMore
  }

  private struct Header {
    var opcode: UInt8 = 0
    var bits: UInt8 = 0
    var isLast = false
    var isMasked = false
    var isShortest = true
    /// Of the header, its mask included.
    var bytes = 2
    var length: UInt64 = 0
  }

  /// The header at `at`; nil while it is not whole.
  ///
  /// What two bytes show to be wrong is told by ``check(_:)`` once the rest is there: a peer that sends two bytes and stops
  /// runs into the idle limit.
  private func header(_ bytes: Span<UInt8>, _ at: Int) -> Header? {
    if bytes.count - at < 2 { return nil }
    var header = Header()
    let first = bytes[at]
    let second = bytes[at + 1]
    header.opcode = first & 15
    header.bits = first >> 4 & 7
    header.isLast = first & 0x80 != 0
    header.isMasked = second & 0x80 != 0
    let short = second & 0x7f
    let extra = short == 126 ? 2 : short == 127 ? 8 : 0
    header.bytes = 2 + extra + (header.isMasked ? 4 : 0)
    if bytes.count - at < header.bytes { return nil }
    if extra == 0 {
      header.length = UInt64(short)
    } else {
      for i in 0..<extra { header.length = header.length << 8 | UInt64(bytes[at + 2 + i]) }
      header.isShortest = extra == 2 ? header.length > 125 : header.length > 0xffff && header.length >> 63 == 0
    }
    return header
  }

  private func check(_ header: Header) -> Mistake? {
    let isControl = header.opcode & 8 != 0
    if header.opcode > 10 || (header.opcode > 2 && header.opcode < 8) || !header.isShortest { return .reserved }
    switch reserved {
    case .unknown: break
    case .none: if header.bits != 0 { return .reserved }
    case .deflate: if header.bits & (isControl || header.opcode == 0 ? 7 : 3) != 0 { return .reserved }
    }
    if header.isMasked != isClient { return .mask }
    if isControl { return !header.isLast || header.length > 125 ? .control : nil }
    if (header.opcode == 0) != isInMessage { return .fragment }
    let before = header.opcode == 0 ? messageBytes : 0
    return header.length > messageBytesMax - min(messageBytesMax, before) ? .tooLarge : nil
  }

  /// The code of a whole close frame (§5.5.1, §7.4); nil when it is not right.
  private func closeCode(_ bytes: Span<UInt8>, _ at: Int, _ header: Header) -> UInt16? {
    if header.length == 0 { return 1005 }
    if header.length == 1 { return nil }
    let start = at + header.bytes
    func byte(_ i: Int) -> UInt8 { bytes[start + i] ^ (header.isMasked ? bytes[start - 4 + i & 3] : 0) }
    let code = UInt16(byte(0)) << 8 | UInt16(byte(1))
    switch code {
    // 1004, 1005, 1006 and 1015 are not for the wire; 1012 … 1014 are registered since (IANA).
    case 1000...1003, 1007...1014, 3000...4999: break
    default: return nil
    }
    var text = UTF8Check()
    // A close frame whose payload an unknown extension has changed says nothing to us.
    if header.bits != 0 { return code }
    for i in 2..<Int(header.length) where !text.take(byte(i)) { return nil }
    return text.isWhole ? code : nil
  }
}

/// UTF-8 (RFC 3629), byte by byte.
struct UTF8Check {
  private var left = 0
  private var low: UInt8 = 0x80
  private var high: UInt8 = 0xbf

  var isWhole: Bool { left == 0 }

  /// False at the first byte that cannot follow.
  mutating func take(_ byte: UInt8) -> Bool {
    if left > 0 {
      if byte < low || byte > high { return false }
      (low, high) = (0x80, 0xbf)
      left -= 1
      return true
    }
    switch byte {
    case 0..<0x80: return true
    case 0xc2...0xdf: left = 1
    case 0xe0...0xef:
      left = 2
      if byte == 0xe0 { low = 0xa0 }
      if byte == 0xed { high = 0x9f }
    case 0xf0...0xf4:
      left = 3
      if byte == 0xf0 { low = 0x90 }
      if byte == 0xf4 { high = 0x8f }
    default: return false
    }
    return true
  }
}

extension HeadBuffer {
  /// A close frame (RFC 6455 §5.5.1): towards a server with a `mask` by chance, towards a client without.
  ///
  /// 1001 when we go away, 1008 for a broken limit, 1009 for a message that is too large.
  public mutating func appendClose(code: UInt16, reason: StaticString = "", mask: UInt32? = nil) {
    let length = 2 + min(123, reason.utf8CodeUnitCount)
    append(byte: 0x88)
    append(byte: UInt8(length) | (mask == nil ? 0 : 0x80))
    if let mask { append(big: UInt64(mask), bytes: 4) }
    for i in 0..<length {
      let byte = i == 0 ? UInt8(code >> 8) : i == 1 ? UInt8(truncatingIfNeeded: code) : Load.byte(reason, i - 2)
      append(byte: byte ^ UInt8(truncatingIfNeeded: (mask ?? 0) >> UInt32(24 - (i & 3) * 8)))
    }
  }
}
