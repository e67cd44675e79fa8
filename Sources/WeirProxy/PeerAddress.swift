// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirWire

/// A peer's address as 16 bytes (IPv4 as its mapped IPv6 address), and as text; made once a connection.
struct PeerAddress: Sendable {
  var high: UInt64 = 0
  var low: UInt64 = 0
  var isIPv6 = false
  var port: UInt16 = 0
  /// Where the client has reached the proxy before us, if that says so.
  var reached: WireAddress?
  /// What `X-Forwarded-For` says.
  var text: [UInt8] = Array("unknown".utf8)

  /// Where the 4 bytes of a mapped IPv4 address begin: ::ffff:0:0/96 (RFC 4291 §2.5.5.2).
  static let mapped: UInt64 = 0x0000_ffff_0000_0000

  init() {}

  /// For its key only: without a text.
  init(_ address: WireAddress) {
    high = address.high
    low = address.low
    isIPv6 = address.isIPv6
    text = []
  }

  /// A peer without an address: a UNIX socket's.
  var isUnknown: Bool { high == 0 && low == 0 }

  init(_ address: SocketAddress?) {
    guard let address else { return }
    let isIPv6: Bool
    switch address {
    case .v4: isIPv6 = false
    case .v6: isIPv6 = true
    case .unixDomainSocket: return
    }
    address.withSockAddr { pointer, size in
      // After family and port: 4 bytes of IPv4; or a flow label, then 16 bytes of IPv6.
      let bytes = UnsafeRawBufferPointer(start: pointer, count: size)
      func word(_ start: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for i in start..<(start + count) { value = value << 8 | UInt64(bytes[i]) }
        return value
      }
      if isIPv6 {
        high = word(8, 8)
        low = word(16, 8)
      } else {
        low = PeerAddress.mapped | word(4, 4)
      }
    }
    port = UInt16(clamping: address.port ?? 0)
    self.isIPv6 = isIPv6 && !(high == 0 && low >> 32 == PeerAddress.mapped >> 32)
    if self.isIPv6 {
      text = Array((address.ipAddress ?? "unknown").utf8)
    } else {
      let four = low & 0xffff_ffff
      text = Array("\(four >> 24).\(four >> 16 & 255).\(four >> 8 & 255).\(four & 255)".utf8)
    }
  }

  /// What limits count by: the address; of IPv6 the /64, for one host owns all of it.
  var key: UInt64 {
    var state = isIPv6 ? high : low
    return SeededRandom.split(&state)
  }
}

/// A range of addresses, as `10.0.0.0/8` or `fd00::/8`.
package struct AddressRange: Sendable, Equatable {
  private var high: UInt64
  private var low: UInt64
  private var bits: Int

  /// Nil when it is none.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let address = try? SocketAddress(ipAddress: String(parts[0]), port: 0) else { return nil }
    let peer = PeerAddress(address)
    let most = peer.isIPv6 ? 128 : 32
    var prefix = most
    if parts.count == 2 {
      guard let written = Int(parts[1]), (0...most).contains(written) else { return nil }
      prefix = written
    }
    bits = peer.isIPv6 ? prefix : prefix + 96
    high = peer.high
    low = peer.low
  }

  func contains(_ address: WireAddress) -> Bool { contains(PeerAddress(address)) }

  func contains(_ peer: PeerAddress) -> Bool {
    func differs(_ a: UInt64, _ b: UInt64, _ count: Int) -> Bool {
      count > 0 && (a ^ b) >> UInt64(64 - min(64, count)) != 0
    }
    return !differs(high, peer.high, min(64, bits)) && !differs(low, peer.low, bits - 64)
  }
}
