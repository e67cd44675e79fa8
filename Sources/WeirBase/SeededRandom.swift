// SPDX-License-Identifier: Apache-2.0

/// A small, fast, seeded source of chance: the same seed gives the same draws on every machine, for ever.
///
/// xoshiro256++ (Blackman and Vigna, *Scrambled linear pseudorandom number generators*, ACM TOMS 47(4), 2021), seeded
/// through SplitMix64 as its authors advise. Not for secrets. Passed as `using: inout SeededRandom`, concrete and never
/// generic, so that a draw is a few instructions and a recorded run replays.
public struct SeededRandom: Sendable, Equatable, BitwiseCopyable, RandomNumberGenerator {
  @usableFromInline var a: UInt64
  @usableFromInline var b: UInt64
  @usableFromInline var c: UInt64
  @usableFromInline var d: UInt64

  public init(seed: UInt64) {
    var state = seed
    a = SeededRandom.split(&state)
    b = SeededRandom.split(&state)
    c = SeededRandom.split(&state)
    d = SeededRandom.split(&state)
  }

  /// A stream of its own for the thing called `name`: common random numbers across variants of one design.
  ///
  /// The stream depends on the seed and the name only, so a changed policy leaves the draws of what it does not touch
  /// alone (FNV-1a over the UTF-8 of the name, RFC 9923, mixed into the seed).
  public init(seed: UInt64, stream name: String) {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    var state = seed ^ hash
    self.init(seed: SeededRandom.split(&state))
  }

  /// One step of SplitMix64: a good mixer of 64-bit values, used for seeds and for hashing integers.
  public static func split(_ state: inout UInt64) -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  @inlinable
  public mutating func next() -> UInt64 {
    let result = SeededRandom.rotate(a &+ d, 23) &+ a
    let t = b << 17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = SeededRandom.rotate(d, 45)
    return result
  }

  @inlinable
  static func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 &- k)) }

  /// Uniform in [0, 1), with 53 random bits.
  @inlinable
  public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Uniform in 0 ..< `bound`; `bound` is at least 1.
  ///
  /// Lemire's multiplication without the rejection step: the bias is
  /// below 2⁻³² for any bound below 2³², which no test of ours can see.
  @inlinable
  public mutating func index(below bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// Uniform in 0 … `bound` nanoseconds, both ends possible; 0 when `bound` is not positive.
  @inlinable
  public mutating func nanoseconds(upTo bound: Int64) -> Int64 {
    bound <= 0 ? 0 : Int64(next().multipliedFullWidth(by: UInt64(bound) &+ 1).high)
  }

  /// True with probability `share` (0 … 1).
  @inlinable
  public mutating func chance(_ share: Double) -> Bool { unit() < share }
}
