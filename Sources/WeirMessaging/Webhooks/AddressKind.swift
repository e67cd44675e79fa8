// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// What an address is for; only a ``global`` one may be anybody's on the internet.
///
/// Source: the registries of special-purpose addresses (RFC 6890; iana.org/assignments/iana-ipv4-special-registry and
/// -ipv6-, as of 2025-10), and the addresses at which clouds tell a machine its credentials. An IPv6 address that carries
/// an IPv4 one, so that a translator or a router on the way reaches that one, is of the carried one's kind.
///
/// For IPv6 the list is turned round: what is not within 2000::/3 is not global, whether a registry knows it or not.
package enum AddressKind: Sendable, Equatable, CaseIterable {
  case global
  case unspecified, loopback, `private`, linkLocal, shared, metadata, multicast, documentation, benchmarking, reserved

  package init(of address: WireAddress) {
    let plain = address.unmapped
    self = plain.isIPv6 ? AddressKind.ofIPv6(plain) : AddressKind.ofIPv4(plain.ipv4)
  }

  /// For a sentence: "is a loopback address".
  package var words: String {
    switch self {
    case .global: "a global address"
    case .unspecified: "an unspecified address"
    case .loopback: "a loopback address"
    case .private: "a private address"
    case .linkLocal: "a link-local address"
    case .shared: "a shared address (carrier-grade NAT)"
    case .metadata: "an address of a cloud's metadata"
    case .multicast: "a multicast address"
    case .documentation: "an address for documentation"
    case .benchmarking: "an address for benchmarks"
    case .reserved: "a reserved address"
    }
  }

  private static func ofIPv4(_ a: UInt32) -> AddressKind {
    // AWS, Azure, Google, DigitalOcean, OpenStack; Amazon's containers; Alibaba; Oracle; Azure's wire server.
    switch a {
    case 0xa9fe_a9fe, 0xa9fe_aa02, 0x6464_64c8, 0xc000_00c0, 0xa83f_8110: return .metadata
    default: break
    }
    switch a >> 24 {
    case 0: return .unspecified
    case 10: return .private
    case 127: return .loopback
    case 224...239: return .multicast
    case 240...255: return .reserved
    default: break
    }
    switch a >> 16 {
    case 0xa9fe: return .linkLocal
    case 0xac10...0xac1f: return .private
    case 0xc0a8: return .private
    case 0x6440...0x647f: return .shared
    case 0xc612, 0xc613: return .benchmarking
    default: break
    }
    switch a >> 8 {
    // IETF protocol assignments, and the anycast of 6to4 relays, which is given up (RFC 7526).
    case 0xc0_0000, 0xc0_5863: return .reserved
    case 0xc0_0002, 0xc6_3364, 0xcb_0071: return .documentation
    default: return .global
    }
  }

  private static func ofIPv6(_ address: WireAddress) -> AddressKind {
    let high = address.high
    let low = address.low
    // NAT64 (RFC 6052): networks without IPv4 reach the whole of it so, thus the carried address decides.
    if high == 0x0064_ff9b_0000_0000 && low >> 32 == 0 { return ofIPv4(UInt32(truncatingIfNeeded: low)) }
    if high == 0 {
      if low == 0 { return .unspecified }
      // `::1`, and the compatible form of IPv4 (RFC 4291 §2.5.5.1), which is given up.
      return low == 1 ? .loopback : .reserved
    }
    // fd00:ec2::254 (AWS), fd20:ce::254 (Google), fd00:c1::a9fe:a9fe (Oracle).
    switch (high, low) {
    case (0xfd00_0ec2_0000_0000, 0x254), (0xfd20_00ce_0000_0000, 0x254), (0xfd00_00c1_0000_0000, 0xa9fe_a9fe):
      return .metadata
    default: break
    }
    if high >> 57 == 0xfc >> 1 { return .private }
    if high >> 54 == 0xfe80 >> 6 { return .linkLocal }
    // Site-local (RFC 3879).
    if high >> 54 == 0xfec0 >> 6 { return .private }
    if high >> 56 == 0xff { return .multicast }
    if high >> 61 != 1 { return .reserved }
    // 2001:db8::/32 (RFC 3849) and 3fff::/20 (RFC 9637).
    if high >> 32 == 0x2001_0db8 || high >> 44 == 0x3fff0 { return .documentation }
    // 2001::/23: Teredo, ORCHID, benchmarks, anycasts of protocols; nobody's web server.
    if high >> 41 == 0x2001_0000 >> 9 { return .reserved }
    // 6to4 (RFC 3056) carries an IPv4 address behind its prefix.
    if high >> 48 == 0x2002 { return ofIPv4(UInt32(truncatingIfNeeded: high >> 16)) }
    // ISATAP (RFC 5214 §6.1) carries one at its end.
    if low >> 32 & 0xfcff_ffff == 0x0000_5efe { return ofIPv4(UInt32(truncatingIfNeeded: low)) }
    return .global
  }
}
