// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A lognormal length of time given by its median and its 99th percentile, the form in which the file states `work`.
///
/// ln X is normal with mean µ = ln(median) and σ = ln(p99 ÷ median) ÷ z, where z = 2.3263478740 is the 99 % quantile of
/// the standard normal distribution. The mean of X is median · exp(σ² ÷ 2).
package struct ServiceTime: Sendable, Equatable {
  package static let none = ServiceTime(medianNanoseconds: 0, sigma: 0)
  static let normal99 = 2.326_347_874_040_841

  let medianNanoseconds: Double
  let sigma: Double

  private init(medianNanoseconds: Double, sigma: Double) {
    self.medianNanoseconds = medianNanoseconds
    self.sigma = sigma
  }

  /// nil when the 99th percentile lies below the median; without one every draw is the median.
  package init?(median: TimeLength, p99: TimeLength?) {
    medianNanoseconds = Double(median.nanoseconds)
    guard let p99, median.nanoseconds > 0 else {
      sigma = 0
      return
    }
    guard p99.nanoseconds >= median.nanoseconds else { return nil }
    sigma = log(Double(p99.nanoseconds) / medianNanoseconds) / ServiceTime.normal99
  }

  package var isNone: Bool { medianNanoseconds == 0 }

  package var meanNanoseconds: Double { medianNanoseconds * exp(sigma * sigma / 2) }

  package func draw(using random: inout Chance) -> Int64 {
    if medianNanoseconds == 0 { return 0 }
    if sigma == 0 { return Int64(medianNanoseconds) }
    return Int64(min(medianNanoseconds * exp(sigma * random.normal()), 9e18))
  }
}

/// A small seeded source of chance (SplitMix64: Steele, Lea and Flood, OOPSLA 2014): the same seed, the same draws.
///
/// The examples have their own, because they use nothing of Weir.
package struct Chance: Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// Uniform in [0, 1).
  package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Standard normal (Box and Muller, 1958; one of the pair is dropped, so that a draw never depends on the one before).
  package mutating func normal() -> Double {
    let radius = (-2 * log(1 - unit())).squareRoot()
    return radius * cos(2 * .pi * unit())
  }

  /// Exponential with mean 1: the distance of two arrivals of a Poisson process of rate 1.
  package mutating func exponential() -> Double { -log(1 - unit()) }
}
