// SPDX-License-Identifier: Apache-2.0

/// What a media type says of gRPC-Web: whether the body is text, and what encodes its messages.
///
/// Source: gRPC's *PROTOCOL-WEB.md*. `application/grpc-web`, `…-text` (and `…-text-base64`, which is the same), each with what
/// may stand behind `application/grpc`: `+proto`, `+json`, parameters.
public struct GRPCWebType: Sendable, Equatable, BitwiseCopyable {
  /// The body is base64.
  public var isText: Bool
  /// From behind the type's own name to the end of the value; may be empty.
  public var rest: Run

  private static let name: StaticString = "application/grpc-web"

  /// Nil when it is another type.
  public static func parse(_ value: Span<UInt8>) -> GRPCWebType? { parse(value, 0, value.count) }

  private static func parse(_ value: Span<UInt8>, _ start: Int, _ end: Int) -> GRPCWebType? {
    var at = start + name.utf8CodeUnitCount
    guard at <= end, Grammar.matches(value, start, at, name) else { return nil }
    var isText = false
    if at + 5 <= end, Grammar.matches(value, at, at + 5, "-text") {
      isText = true
      at += 5
      if at + 7 <= end, Grammar.matches(value, at, at + 7, "-base64") { at += 7 }
    }
    guard at == end || value[at] == 0x2b || value[at] == 0x3b || value[at] == 0x20 || value[at] == 0x09 else {
      return nil
    }
    return GRPCWebType(isText: isText, rest: Run(at, end))
  }

  /// The first type of gRPC-Web in an `Accept`; nil when there is none.
  public static func first(inAccept value: Span<UInt8>) -> GRPCWebType? {
    var at = 0
    while at < value.count {
      var end = at
      while end < value.count && value[end] != 0x2c { end += 1 }
      while at < end && (value[at] == 0x20 || value[at] == 0x09) { at += 1 }
      if let type = parse(value, at, end) { return type }
      at = end + 1
    }
    return nil
  }
}

/// Base64 as `application/grpc-web-text` has it: a stream of pieces, of which each may be padded for itself.
///
/// It comes in parts that are cut anywhere, and nothing of it is held but what is short of four characters. White space, a
/// character of another alphabet, padding at a wrong place and bits beyond the last byte are refused: one text has one meaning.
///
/// ## Invariants
/// 1. What is decoded does not depend on how the text was split.
/// 2. Of n characters come at most 3n / 4 bytes.
public struct GRPCWebText: Sendable, Equatable, BitwiseCopyable {
  private var bits: UInt32 = 0
  private var count: UInt8 = 0
  private var isPadded = false

  public init() {}

  /// The text may end here: no group of four is begun.
  public var isWhole: Bool { count == 0 }

  /// Appends what the text stands for; false, and nothing more may be given, when it is no base64.
  public mutating func decode(_ text: Span<UInt8>, into out: inout [UInt8]) -> Bool {
    for i in 0..<text.count where !take(text[i], &out) { return false }
    return true
  }

  private mutating func take(_ byte: UInt8, _ out: inout [UInt8]) -> Bool {
    if byte == 0x3d { return pad(&out) }
    let value = GRPCWebText.value(of: byte)
    if value > 63 || isPadded { return false }
    bits = bits << 6 | UInt32(value)
    count += 1
    if count == 4 {
      out.append(UInt8(truncatingIfNeeded: bits >> 16))
      out.append(UInt8(truncatingIfNeeded: bits >> 8))
      out.append(UInt8(truncatingIfNeeded: bits))
      bits = 0
      count = 0
    }
    return true
  }

  /// `xx==` is one byte, `xxx=` are two.
  private mutating func pad(_ out: inout [UInt8]) -> Bool {
    switch (count, isPadded) {
    case (2, false):
      guard bits & 0xf == 0 else { return false }
      isPadded = true
      return true
    case (2, true):
      out.append(UInt8(truncatingIfNeeded: bits >> 4))
    case (3, false):
      guard bits & 0x3 == 0 else { return false }
      out.append(UInt8(truncatingIfNeeded: bits >> 10))
      out.append(UInt8(truncatingIfNeeded: bits >> 2))
    default: return false
    }
    bits = 0
    count = 0
    isPadded = false
    return true
  }

  private static func value(of byte: UInt8) -> UInt8 {
    switch byte {
    case 0x41...0x5a: byte &- 0x41
    case 0x61...0x7a: byte &- 0x61 &+ 26
    case 0x30...0x39: byte &- 0x30 &+ 52
    case 0x2b: 62
    case 0x2f: 63
    default: 255
    }
  }

  private static func letter(_ value: UInt32) -> UInt8 {
    let value = UInt8(truncatingIfNeeded: value & 63)
    switch value {
    case 0..<26: return value &+ 0x41
    case 26..<52: return value &- 26 &+ 0x61
    case 52..<62: return value &- 52 &+ 0x30
    case 62: return 0x2b
    default: return 0x2f
    }
  }

  /// Appends bytes as one piece, padded at its end: who reads it need not wait for more.
  public static func encode(_ bytes: Span<UInt8>, into out: inout [UInt8]) {
    out.reserveCapacity(out.count + (bytes.count + 2) / 3 * 4)
    var at = 0
    while at + 3 <= bytes.count {
      let group = UInt32(bytes[at]) << 16 | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2])
      out.append(letter(group >> 18))
      out.append(letter(group >> 12))
      out.append(letter(group >> 6))
      out.append(letter(group))
      at += 3
    }
    if at == bytes.count { return }
    let isOne = at + 1 == bytes.count
    let group = UInt32(bytes[at]) << 16 | (isOne ? 0 : UInt32(bytes[at + 1]) << 8)
    out.append(letter(group >> 18))
    out.append(letter(group >> 12))
    out.append(isOne ? 0x3d : letter(group >> 6))
    out.append(0x3d)
  }
}

/// Trailers as the last message of a body.
public enum GRPCWebTrailers {
  /// Appends the frame of these lines, each with its end: the eighth bit of its flags says that they are trailers.
  public static func appendFrame(_ lines: Span<UInt8>, to out: inout [UInt8]) {
    let count = UInt32(truncatingIfNeeded: lines.count)
    out.append(0x80)
    for shift in [24, 16, 8, 0] as [UInt32] { out.append(UInt8(truncatingIfNeeded: count >> shift)) }
    for i in 0..<lines.count { out.append(lines[i]) }
  }
}
