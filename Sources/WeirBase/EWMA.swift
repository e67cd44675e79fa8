// SPDX-License-Identifier: Apache-2.0

/// A mean that forgets: each value weighs less by half for every `halfLife` that has passed since.
///
/// Irregularly spaced samples: the weight of the past is 2^(−Δt ÷ half-life), as in Finagle's `Ewma`. A copy is a
/// snapshot; there is no clock in it.
public struct EWMA: Sendable, Equatable, BitwiseCopyable {
  /// The mean; what it was started with until the first sample.
  public private(set) var value: Double
  private var last: Instant
  private var primed = false

  public init(_ value: Double = 0, at start: Instant = .zero) {
    self.value = value
    last = start
  }

  /// Takes a sample.
  ///
  /// The first one replaces the start value; `now` never goes back.
  public mutating func add(_ sample: Double, halfLife: Int64, now: Instant) {
    guard primed else {
      primed = true
      value = sample
      last = now
      return
    }
    let weight = EWMA.weight(after: now.since(last), halfLife: halfLife)
    value = value * weight + sample * (1 - weight)
    last = now
  }

  /// Takes a sample that counts whole when it is above the mean as it has faded, and as usual when it is not.
  public mutating func addPeak(_ sample: Double, halfLife: Int64, now: Instant) {
    let weight = EWMA.weight(after: now.since(last), halfLife: halfLife)
    if !primed || sample > value * weight {
      value = sample
    } else {
      value = value * weight + sample * (1 - weight)
    }
    primed = true
    last = now
  }

  /// The mean as it has faded towards 0 by `now`, when silence means idleness.
  public func faded(halfLife: Int64, now: Instant) -> Double {
    value * EWMA.weight(after: now.since(last), halfLife: halfLife)
  }

  /// Jumps to a value: what peak-sensitive users do when a sample exceeds the mean.
  public mutating func jump(to sample: Double, now: Instant) {
    primed = true
    value = sample
    last = now
  }

  /// 2^(−elapsed ÷ halfLife), by a table-free approximation whose error is below 1.5·10⁻⁴.
  ///
  /// `exp` would need the C library, which the pure targets do not import. 2^−x for the whole part is a shift of the
  /// exponent; the fraction is a cubic on [0, 1] with both ends exact, searched for the smallest largest error.
  @inlinable
  static func weight(after elapsed: Int64, halfLife: Int64) -> Double {
    if elapsed <= 0 { return 1 }
    if halfLife <= 0 { return 0 }
    let x = Double(elapsed) / Double(halfLife)
    if x >= 60 { return 0 }
    // x is 0 … 60: truncation is its floor, and the power of two is built from its bits. `rounded` and `scalbn` would be
    // calls into the C library.
    let whole = Int64(x)
    let f = x - Double(whole)
    let fraction = 1 - f * (0.692_900 - f * (0.234_659 - f * 0.041_759))
    return fraction * Double(bitPattern: UInt64(1023 &- whole) << 52)
  }
}
