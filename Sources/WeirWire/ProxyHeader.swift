// SPDX-License-Identifier: Apache-2.0

/// The PROXY protocol, versions 1 and 2: who a connection is from, said by the proxy before it.
///
/// Source: *The PROXY protocol, versions 1 & 2* (HAProxy, 2020/03/05), `proxy-protocol.txt`. A listener that expects the
/// header takes no connection without it (§2: a receiver must not guess), and one that does not expect it never looks.
///
/// Stricter than the text: one space between words, no leading zeros, ports of version 1 in full range, UDP and UNIX
/// addresses of version 2 are refused as sources, TLVs must fill their length exactly, and no type we read may come twice.
public struct ProxyHeader: Sendable, Equatable, BitwiseCopyable {
  public enum Mistake: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    /// Neither signature.
    case signature
    /// Version 1: not `PROXY TCP4|TCP6|UNKNOWN …` in one line of at most 107 bytes.
    case line
    /// An address or port that is not one, or is too short for its family.
    case address
    /// Version 2: another version or command than the text knows.
    case command
    /// Version 2: a family or transport that is not TCP over IPv4 or IPv6.
    case family
    /// A TLV that is cut off, repeated or too long.
    case tlv
    /// The CRC-32C that was sent is not that of the header.
    case checksum
    /// More bytes than ``bytesMax``.
    case tooLong
  }

  public enum Outcome: Sendable, Equatable, BitwiseCopyable {
    case complete
    case needMore
    case refused(Mistake)
  }

  /// Whole header of version 1, with its line end (§2.1).
  public static let lineBytesMax = 107
  /// Whole header of version 2: addresses, certificates' names and cloud tags stay far below it (HAProxy reads what fits
  /// its 16 KiB buffer; Envoy 1 KiB of TLVs by default).
  public static let bytesMax = 4 << 10
  /// A host's name, as ``HostRule``.
  static let authorityBytesMax = 255

  /// Bytes of the header: the connection's own begin after it.
  public var length = 0
  public var version: UInt8 = 0
  /// `LOCAL` or `UNKNOWN`: the connection is the proxy's own (a health check); its real peer counts.
  public var isLocal = true
  public var source = WireAddress(ipv4: 0, port: 0)
  public var destination = WireAddress(ipv4: 0, port: 0)
  /// `PP2_TYPE_AUTHORITY`: the name that the client asked for (SNI); empty when not given.
  public var authority = Run.empty
  /// `PP2_TYPE_ALPN`, as given.
  public var alpn = Run.empty
  /// A CRC-32C was given, and is right.
  public var isChecked = false

  public init() {}

  // MARK: Reading

  /// Reads the header at the start of `bytes`; call again with more after `needMore`.
  ///
  /// Wrong beginnings are refused at the first byte that shows it. A header is short, so it is read again from its start.
  public mutating func scan(_ bytes: Span<UInt8>) -> Outcome {
    self = ProxyHeader()
    if bytes.isEmpty { return .needMore }
    return bytes[0] == 0x50 ? line(bytes) : binary(bytes)
  }

  private mutating func line(_ bytes: Span<UInt8>) -> Outcome {
    version = 1
    let limit = min(bytes.count, ProxyHeader.lineBytesMax)
    for i in 0..<min(limit, 6) where bytes[i] != Load.byte("PROXY ", i) { return .refused(.signature) }
    var end = 6
    while end < limit && bytes[end] != 0x0d {
      if bytes[end] < 0x20 || bytes[end] > 0x7e { return .refused(.line) }
      end += 1
    }
    if end + 1 >= limit {
      return limit == ProxyHeader.lineBytesMax ? .refused(.tooLong) : .needMore
    }
    if bytes[end + 1] != 0x0a { return .refused(.line) }
    length = end + 2

    var at = 6
    let family = word(bytes, &at, end)
    if equals(bytes, family, "UNKNOWN") {
      // Whatever follows it is not looked at (§2.1).
      return .complete
    }
    let isIPv6 = equals(bytes, family, "TCP6")
    if !isIPv6 && !equals(bytes, family, "TCP4") { return .refused(.line) }
    var words = InlineArray<4, Range<Int>>(repeating: 0..<0)
    for i in 0..<4 {
      if at >= end || bytes[at] != 0x20 { return .refused(.line) }
      at += 1
      words[i] = word(bytes, &at, end)
      if words[i].isEmpty { return .refused(.line) }
    }
    if at != end { return .refused(.line) }
    guard let from = address(bytes, words[0], words[2], isIPv6), let to = address(bytes, words[1], words[3], isIPv6)
    else { return .refused(.address) }
    source = from
    destination = to
    isLocal = false
    return .complete
  }

  private func word(_ bytes: Span<UInt8>, _ at: inout Int, _ end: Int) -> Range<Int> {
    let start = at
    while at < end && bytes[at] != 0x20 { at += 1 }
    return start..<at
  }

  private func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ text: StaticString) -> Bool {
    guard range.count == text.utf8CodeUnitCount else { return false }
    for i in 0..<range.count where bytes[range.lowerBound + i] != Load.byte(text, i) { return false }
    return true
  }

  private func address(
    _ bytes: Span<UInt8>, _ host: Range<Int>, _ port: Range<Int>, _ isIPv6: Bool
  ) -> WireAddress? {
    guard let port = WireAddress.port(bytes, port) else { return nil }
    if !isIPv6 { return WireAddress.ipv4(bytes, host).map { WireAddress(ipv4: $0, port: port) } }
    guard let six = WireAddress.ipv6(bytes, host) else { return nil }
    return WireAddress(high: six.high, low: six.low, port: port, isIPv6: true).unmapped
  }

  /// `\r\n\r\n\0\r\nQUIT\n` (§2.2).
  static var signature: InlineArray<12, UInt8> {
    [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  }

  private mutating func binary(_ bytes: Span<UInt8>) -> Outcome {
    version = 2
    let signature = ProxyHeader.signature
    for i in 0..<min(bytes.count, 12) where bytes[i] != signature[i] { return .refused(.signature) }
    if bytes.count < 16 { return .needMore }
    if bytes[12] >> 4 != 2 || bytes[12] & 15 > 1 { return .refused(.command) }
    let isProxied = bytes[12] & 15 == 1
    let rest = number(bytes, 14)
    if 16 + rest > ProxyHeader.bytesMax { return .refused(.tooLong) }
    if bytes.count < 16 + rest { return .needMore }
    length = 16 + rest

    var at = 16
    switch bytes[13] {
    case 0x11:
      if rest < 12 { return .refused(.address) }
      source = WireAddress(ipv4: UInt32(number(bytes, 16) << 16 | number(bytes, 18)), port: UInt16(number(bytes, 24)))
      destination = WireAddress(
        ipv4: UInt32(number(bytes, 20) << 16 | number(bytes, 22)), port: UInt16(number(bytes, 26)))
      at = 28
      isLocal = !isProxied
    case 0x21:
      if rest < 36 { return .refused(.address) }
      source = six(bytes, 16, 48).unmapped
      destination = six(bytes, 32, 50).unmapped
      at = 52
      isLocal = !isProxied
    case 0x00:
      // UNSPEC: the sender knows no address; the real one counts, TLVs may follow. Those of `PROXY` too (§2.2).
      break
    default:
      // A health check may name any family; a proxied connection must be one that we can count by.
      if isProxied { return .refused(.family) }
      // What its addresses' lengths are we need not know: all of it is skipped.
      return .complete
    }
    if isLocal {
      source = WireAddress(ipv4: 0, port: 0)
      destination = source
    }
    if let mistake = tlvs(bytes, at, length) { return .refused(mistake) }
    return .complete
  }

  private mutating func tlvs(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Mistake? {
    var at = start
    var checksum = -1
    while at < end {
      if end - at < 3 { return .tlv }
      let kind = bytes[at]
      let size = number(bytes, at + 1)
      at += 3
      if size > end - at { return .tlv }
      switch kind {
      case 0x01:
        if !alpn.isEmpty || size == 0 { return .tlv }
        alpn = Run(at, at + size)
      case 0x02:
        if !authority.isEmpty || size == 0 || size > ProxyHeader.authorityBytesMax { return .tlv }
        // It may come to stand in logs and fields, so it is held to what a host's name is made of.
        for i in at..<(at + size) where !Grammar.isInHost(bytes[i]) { return .tlv }
        authority = Run(at, at + size)
      case 0x03:
        if checksum >= 0 || size != 4 { return .tlv }
        checksum = at
      default: break
      }
      at += size
    }
    if checksum >= 0 {
      var crc = CRC32C()
      for i in 0..<length { crc.add(i >= checksum && i < checksum + 4 ? 0 : bytes[i]) }
      let given = UInt32(number(bytes, checksum)) << 16 | UInt32(number(bytes, checksum + 2))
      if crc.value != given { return .checksum }
      isChecked = true
    }
    return nil
  }

  /// Two bytes, the higher first.
  private func number(_ bytes: Span<UInt8>, _ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }

  private func six(_ bytes: Span<UInt8>, _ at: Int, _ port: Int) -> WireAddress {
    var high: UInt64 = 0
    var low: UInt64 = 0
    for i in 0..<8 {
      high = high << 8 | UInt64(bytes[at + i])
      low = low << 8 | UInt64(bytes[at + 8 + i])
    }
    return WireAddress(high: high, low: low, port: UInt16(number(bytes, port)), isIPv6: true)
  }
}

// MARK: - Writing

extension HeadBuffer {
  /// Version 1; without addresses `PROXY UNKNOWN`.
  ///
  /// Both addresses are written in one family: IPv4 beside IPv6 becomes its mapped form.
  public mutating func appendProxyLine(source: WireAddress?, destination: WireAddress?) {
    guard let source, let destination else { return append("PROXY UNKNOWN\r\n") }
    let isIPv6 = source.isIPv6 || destination.isIPv6
    append(isIPv6 ? "PROXY TCP6 " : "PROXY TCP4 ")
    append(address: isIPv6 ? source.asIPv6 : source)
    append(" ")
    append(address: isIPv6 ? destination.asIPv6 : destination)
    append(" ")
    append(decimal: Int64(source.port))
    append(" ")
    append(decimal: Int64(destination.port))
    append("\r\n")
  }

  /// Version 2 with a CRC-32C; without addresses `LOCAL`.
  public mutating func appendProxyBinary(
    source: WireAddress?, destination: WireAddress?, authority: Span<UInt8> = Span()
  ) {
    let start = count
    let signature = ProxyHeader.signature
    append(signature.span)
    var addresses = 0
    var isIPv6 = false
    if let source, let destination {
      isIPv6 = source.isIPv6 || destination.isIPv6
      append(byte: 0x21)
      append(byte: isIPv6 ? 0x21 : 0x11)
      addresses = isIPv6 ? 36 : 12
    } else {
      append(byte: 0x20)
      append(byte: 0x00)
    }
    let named = min(authority.count, ProxyHeader.authorityBytesMax)
    append(big: UInt64(addresses + (named > 0 ? 3 + named : 0) + 7), bytes: 2)
    if let source, let destination {
      append(binary: source, isIPv6: isIPv6)
      append(binary: destination, isIPv6: isIPv6)
      append(big: UInt64(source.port), bytes: 2)
      append(big: UInt64(destination.port), bytes: 2)
    }
    if named > 0 {
      append(byte: 0x02)
      append(big: UInt64(named), bytes: 2)
      append(authority, 0..<named)
    }
    append(byte: 0x03)
    append(big: 4, bytes: 2)
    var crc = CRC32C()
    for i in start..<count { crc.add(storage[i]) }
    for _ in 0..<4 { crc.add(0) }
    append(big: UInt64(crc.value), bytes: 4)
  }

  private mutating func append(binary address: WireAddress, isIPv6: Bool) {
    if isIPv6 {
      append(big: address.high, bytes: 8)
      append(big: address.low, bytes: 8)
    } else {
      append(big: UInt64(address.ipv4), bytes: 4)
    }
  }

  /// The low `bytes` bytes of a number, the highest first.
  mutating func append(big value: UInt64, bytes: Int) {
    for i in 0..<bytes { append(byte: UInt8(truncatingIfNeeded: value >> UInt64((bytes - 1 - i) * 8))) }
  }
}

extension WireAddress {
  /// Itself as 16 bytes; IPv4 as its mapped address, which is how it is kept.
  var asIPv6: WireAddress { WireAddress(high: high, low: low, port: port, isIPv6: true) }
}
