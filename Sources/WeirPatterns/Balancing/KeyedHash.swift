// SPDX-License-Identifier: Apache-2.0

/// Hashes what a client sends (a cookie, a header, an address) so that nobody outside can choose where it lands.
///
/// Source: Aumasson and Bernstein, *SipHash: a fast short-input PRF*, INDOCRYPT 2012; this is SipHash-2-4, with the
/// vectors of its reference. With a public hash a client could find a thousand keys of one instance and send nothing
/// else, or learn addresses from codes by trying all of them; without the 128-bit secret it can do neither.
///
/// All nodes and loops that are to agree on where a key goes need the same secret.
public struct KeyedHash: Sendable, Equatable, BitwiseCopyable {
  private var k0: UInt64
  private var k1: UInt64

  public init(secret k0: UInt64, _ k1: UInt64) {
    self.k0 = k0
    self.k1 = k1
  }

  private struct State {
    var v0: UInt64
    var v1: UInt64
    var v2: UInt64
    var v3: UInt64

    @inline(__always)
    mutating func round() {
      v0 = v0 &+ v1
      v2 = v2 &+ v3
      v1 = rotated(v1, 13) ^ v0
      v3 = rotated(v3, 16) ^ v2
      v0 = rotated(v0, 32)
      v2 = v2 &+ v1
      v0 = v0 &+ v3
      v1 = rotated(v1, 17) ^ v2
      v3 = rotated(v3, 21) ^ v0
      v2 = rotated(v2, 32)
    }

    @inline(__always)
    private func rotated(_ x: UInt64, _ k: UInt64) -> UInt64 { x << k | x >> (64 &- k) }

    @inline(__always)
    mutating func add(_ word: UInt64) {
      v3 ^= word
      round()
      round()
      v0 ^= word
    }
  }

  /// The hash of these bytes.
  public func hash(_ bytes: Span<UInt8>) -> UInt64 {
    var state = State(
      v0: k0 ^ 0x736f_6d65_7073_6575, v1: k1 ^ 0x646f_7261_6e64_6f6d, v2: k0 ^ 0x6c79_6765_6e65_7261,
      v3: k1 ^ 0x7465_6462_7974_6573)
    let count = bytes.count
    var word: UInt64 = 0
    var shift: UInt64 = 0
    for index in 0..<count {
      word |= UInt64(bytes[index]) << shift
      shift += 8
      if shift == 64 {
        state.add(word)
        word = 0
        shift = 0
      }
    }
    state.add(word | UInt64(truncatingIfNeeded: count) << 56)
    state.v2 ^= 0xff
    for _ in 0..<4 { state.round() }
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
  }

  /// The hash of a string, for names when a plan is made.
  public func hash(_ text: String) -> UInt64 {
    let bytes = Array(text.utf8)
    return hash(bytes.span)
  }

  /// A 64-bit value mixed well, without a secret: the finisher of SplitMix64, which is one to one.
  @inline(__always)
  static func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// Whether a mixed value falls into the first `share` of all values.
  @inline(__always)
  static func falls(_ mixed: UInt64, within share: Double) -> Bool { Double(mixed >> 11) * 0x1p-53 < share }
}
