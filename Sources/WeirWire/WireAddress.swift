// SPDX-License-Identifier: Apache-2.0

/// An IP address and a port as numbers, read and written as text in one form each.
///
/// IPv4 is kept as its mapped IPv6 address (RFC 4291 §2.5.5.2) with ``isIPv6`` false.
public struct WireAddress: Sendable, Hashable, BitwiseCopyable {
  public var high: UInt64
  public var low: UInt64
  public var port: UInt16
  public var isIPv6: Bool

  public init(high: UInt64, low: UInt64, port: UInt16, isIPv6: Bool) {
    self.high = high
    self.low = low
    self.port = port
    self.isIPv6 = isIPv6
  }

  /// Where the 4 bytes of a mapped IPv4 address begin.
  static var mapped: UInt64 { 0x0000_ffff_0000_0000 }

  public init(ipv4: UInt32, port: UInt16) {
    self.init(high: 0, low: WireAddress.mapped | UInt64(ipv4), port: port, isIPv6: false)
  }

  /// The four bytes of an IPv4 address, the first the highest.
  public var ipv4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// Whether this is an IPv6 address that stands for an IPv4 one.
  public var isMapped: Bool { isIPv6 && high == 0 && low >> 32 == 0xffff }

  /// The IPv4 address that a mapped one stands for; any other as it is.
  public var unmapped: WireAddress {
    isMapped ? WireAddress(ipv4: ipv4, port: port) : self
  }

  // MARK: Text

  /// Dotted decimal, four numbers without leading zeros: `inet_aton`'s octal and short forms have several readings.
  public static func ipv4(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt32? {
    var value: UInt32 = 0
    var i = range.lowerBound
    for part in 0..<4 {
      let start = i
      var number: UInt32 = 0
      while i < range.upperBound && Grammar.isDigit(bytes[i]) && i - start < 3 {
        number = number * 10 + UInt32(bytes[i] - 0x30)
        i += 1
      }
      if i == start || number > 255 || (i - start > 1 && bytes[start] == 0x30) { return nil }
      value = value << 8 | number
      if part < 3 {
        if i >= range.upperBound || bytes[i] != 0x2e { return nil }
        i += 1
      }
    }
    return i == range.upperBound ? value : nil
  }

  /// The forms of RFC 4291 §2.2, also with an IPv4 address at the end; no zone.
  public static func ipv6(_ bytes: Span<UInt8>, _ range: Range<Int>) -> (high: UInt64, low: UInt64)? {
    var groups = InlineArray<8, UInt16>(repeating: 0)
    var count = 0
    var gap = -1
    var i = range.lowerBound
    let end = range.upperBound
    if end - i < 2 { return nil }
    if bytes[i] == 0x3a {
      if bytes[i + 1] != 0x3a { return nil }
      gap = 0
      i += 2
    }
    while i < end {
      if count == 8 { return nil }
      let start = i
      var value: UInt32 = 0
      while i < end && i - start < 4 && Grammar.hex(bytes[i]) != 255 {
        value = value << 4 | UInt32(Grammar.hex(bytes[i]))
        i += 1
      }
      if i < end && bytes[i] == 0x2e {
        guard count <= 6, let four = ipv4(bytes, start..<end) else { return nil }
        groups[count] = UInt16(truncatingIfNeeded: four >> 16)
        groups[count + 1] = UInt16(truncatingIfNeeded: four)
        count += 2
        i = end
        break
      }
      if i == start { return nil }
      groups[count] = UInt16(truncatingIfNeeded: value)
      count += 1
      if i == end { break }
      if bytes[i] != 0x3a { return nil }
      i += 1
      if i == end { return nil }
      if bytes[i] == 0x3a {
        if gap >= 0 { return nil }
        gap = count
        i += 1
      }
    }
    if gap < 0 && count != 8 { return nil }
    // `::` stands for at least one group.
    if gap >= 0 && count > 7 { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for place in 0..<8 {
      var group: UInt16 = 0
      if gap < 0 || place < gap {
        group = groups[place]
      } else if place >= 8 - (count - gap) {
        group = groups[place - (8 - count)]
      }
      if place < 4 { high = high << 16 | UInt64(group) } else { low = low << 16 | UInt64(group) }
    }
    return (high, low)
  }

  /// An address without a port, of either family.
  public static func address(_ bytes: Span<UInt8>, _ range: Range<Int>) -> WireAddress? {
    if let four = ipv4(bytes, range) { return WireAddress(ipv4: four, port: 0) }
    guard let six = ipv6(bytes, range) else { return nil }
    return WireAddress(high: six.high, low: six.low, port: 0, isIPv6: true)
  }

  /// What stands in `X-Forwarded-For` or in `for=` of `Forwarded` (RFC 7239 §6): an address, with brackets and a port or
  /// without.
  ///
  /// `unknown` and obfuscated names are nil.
  public static func node(_ bytes: Span<UInt8>, _ range: Range<Int>) -> WireAddress? {
    if range.isEmpty { return nil }
    let start = range.lowerBound
    if bytes[start] == 0x5b {
      var close = start + 1
      while close < range.upperBound && bytes[close] != 0x5d { close += 1 }
      guard close < range.upperBound, let six = ipv6(bytes, (start + 1)..<close),
        let port = portAfter(bytes, (close + 1)..<range.upperBound)
      else { return nil }
      return WireAddress(high: six.high, low: six.low, port: port, isIPv6: true)
    }
    if let whole = address(bytes, range) { return whole }
    var colon = start
    while colon < range.upperBound && bytes[colon] != 0x3a { colon += 1 }
    guard let four = ipv4(bytes, start..<colon), let port = portAfter(bytes, colon..<range.upperBound) else {
      return nil
    }
    return WireAddress(ipv4: four, port: port)
  }

  /// Nothing (0), or `:` and a port.
  private static func portAfter(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt16? {
    if range.isEmpty { return 0 }
    guard bytes[range.lowerBound] == 0x3a else { return nil }
    return port(bytes, (range.lowerBound + 1)..<range.upperBound)
  }

  /// A port without leading zeros; 0 is one.
  static func port(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt16? {
    guard range.count <= 5, let value = Decimal.parse(bytes, range.lowerBound, range.upperBound), value <= 65_535,
      range.count == 1 || bytes[range.lowerBound] != 0x30
    else { return nil }
    return UInt16(value)
  }
}

extension HeadBuffer {
  /// The address without its port: dotted decimal, or the canonical text of RFC 5952.
  public mutating func append(address: WireAddress) {
    if !address.isIPv6 {
      for part in 0..<4 {
        if part > 0 { append(byte: 0x2e) }
        append(decimal: Int64(address.ipv4 >> UInt32(24 - part * 8) & 255))
      }
      return
    }
    // The longest run of at least two zero groups, the first of equals (§4.2).
    func group(_ i: Int) -> UInt64 {
      (i < 4 ? address.high >> UInt64(48 - i * 16) : address.low >> UInt64(112 - i * 16)) & 0xffff
    }
    var best = 0
    var length = 0
    var i = 0
    while i < 8 {
      var end = i
      while end < 8 && group(end) == 0 { end += 1 }
      if end - i > length {
        best = i
        length = end - i
      }
      i = end + 1
    }
    if length < 2 { length = 0 }
    i = 0
    while i < 8 {
      if length > 0 && i == best {
        append("::")
        i += length
        continue
      }
      if i > 0 && !(length > 0 && i == best + length) { append(byte: 0x3a) }
      append(hex: group(i))
      i += 1
    }
  }
}
