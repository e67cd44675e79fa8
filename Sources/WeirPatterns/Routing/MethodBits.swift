// SPDX-License-Identifier: Apache-2.0

/// A set of HTTP methods in 16 bits; a request has exactly one of them.
///
/// Source: RFC 9110 §9.3, RFC 5789 (PATCH). Every other method, known to the world or not, is `other`: a route that
/// names no methods takes it, a route that names some does not.
public struct MethodBits: OptionSet, Sendable, Hashable, BitwiseCopyable {
  public var rawValue: UInt16

  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static let get = MethodBits(rawValue: 1 << 0)
  public static let head = MethodBits(rawValue: 1 << 1)
  public static let post = MethodBits(rawValue: 1 << 2)
  public static let put = MethodBits(rawValue: 1 << 3)
  public static let delete = MethodBits(rawValue: 1 << 4)
  public static let patch = MethodBits(rawValue: 1 << 5)
  public static let options = MethodBits(rawValue: 1 << 6)
  public static let connect = MethodBits(rawValue: 1 << 7)
  public static let trace = MethodBits(rawValue: 1 << 8)
  public static let other = MethodBits(rawValue: 1 << 9)

  /// All there are.
  public static let all = MethodBits(rawValue: (1 << 10) - 1)

  private static let byBit = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
  ]

  /// The method of a request line; methods are case-sensitive (RFC 9110 §9.1), so `get` is `other`.
  public init(name: Span<UInt8>) {
    self = .other
    if name.count < 3 || name.count > 7 { return }
    // The name as one number: at most 7 bytes, so it fits, and a comparison is one instruction.
    var packed: UInt64 = 0
    for index in 0..<name.count { packed = packed << 8 | UInt64(name[index]) }
    switch packed {
    case 0x47_4554: self = .get
    case 0x4845_4144: self = .head
    case 0x504f_5354: self = .post
    case 0x50_5554: self = .put
    case 0x4445_4c45_5445: self = .delete
    case 0x50_4154_4348: self = .patch
    case 0x4f_5054_494f_4e53: self = .options
    case 0x43_4f4e_4e45_4354: self = .connect
    case 0x54_5241_4345: self = .trace
    default: break
    }
  }

  /// The names in the set, in a fixed order, without `other`: what the `Allow` header field holds, joined by ", ".
  public var names: [String] {
    MethodBits.byBit.indices.filter { rawValue & (1 << UInt16($0)) != 0 }.map {
      MethodBits.byBit[$0]
    }
  }

  /// True if one of the two is in the set of the other; how a `GET` route also takes `HEAD` (RFC 9110 §9.3.2).
  var withHead: MethodBits { contains(.get) ? union(.head) : self }
}
