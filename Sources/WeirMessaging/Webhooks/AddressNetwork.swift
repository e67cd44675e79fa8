// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// The addresses that begin with the same bits: `10.0.0.0/8`, `fd00::/8`, or one alone.
package struct AddressNetwork: Sendable, Hashable {
  private let high: UInt64
  private let low: UInt64
  /// Of the 128 of an IPv6 address; an IPv4 one is counted as its mapped form.
  private let bits: Int
  private let isIPv6: Bool

  /// Nil for what is no address, or has more bits than one; bits behind the length are not looked at.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let address = WireAddress(text: first) else { return nil }
    let most = address.isIPv6 ? 128 : 32
    var length = most
    if parts.count == 2 {
      guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        let written = Int(parts[1]), written <= most
      else { return nil }
      length = written
    }
    high = address.high
    low = address.low
    bits = address.isIPv6 ? length : length + 96
    isIPv6 = address.isIPv6
  }

  package func contains(_ address: WireAddress) -> Bool {
    guard address.isIPv6 == isIPv6 else { return false }
    let different = (high: high ^ address.high, low: low ^ address.low)
    if bits <= 64 { return bits == 0 || different.high >> UInt64(64 - bits) == 0 }
    return different.high == 0 && (bits == 64 || different.low >> UInt64(128 - bits) == 0)
  }
}

extension WireAddress {
  /// An address without a port, as text: dotted decimal with four numbers, or RFC 4291 §2.2; nil for anything else.
  init?(text: some StringProtocol) {
    let bytes = Array(text.utf8)
    let span = bytes.span
    guard let address = WireAddress.address(span, 0..<span.count) else { return nil }
    self = address
  }
}
