// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// A number that was estimated, and the interval that holds the true one in 95 of 100 runs.
package struct Estimate: Sendable, Equatable {
  package var value: Double
  package var low: Double
  /// Infinite when the run was too short to say.
  package var high: Double

  package init(_ value: Double, low: Double, high: Double) {
    self.value = value
    self.low = low
    self.high = high
  }

  package func scaled(by factor: Double) -> Estimate {
    Estimate(value * factor, low: low * factor, high: high * factor)
  }

  /// Half the interval's width, relative to the value.
  package var relativeHalfWidth: Double { value == 0 ? (high == low ? 0 : .infinity) : (high - low) / 2 / abs(value) }
}

/// Estimates from observations that are independent of each other (replications), or as good as (long batches of one).
///
/// Customers within an observation depend on each other (whoever follows a long wait waits long), so an interval from single
/// customers would be far too narrow: M/M/1 at 80 % would hold the truth in about one of five. Only the spread *between*
/// observations is used, with Student's t for their small number.
package enum Estimating {
  /// The share of intervals that hold the truth.
  package static let confidence = 0.95

  static func t(_ observations: Int) -> Double {
    observations < 2 ? .infinity : Mathematics.studentQuantile(0.5 + confidence / 2, freedom: observations - 1)
  }

  /// A mean over observations of the same length.
  package static func mean(_ values: [Double]) -> Estimate {
    ratio(values, [Double](repeating: 1, count: values.count))
  }

  /// Σ sums ÷ Σ counts: a mean per customer.
  ///
  /// The ratio estimator with its classic variance (Law, *Simulation Modeling and Analysis*, 5th ed., §9.5): observations with
  /// more customers weigh more.
  package static func ratio(_ sums: [Double], _ counts: [Double]) -> Estimate {
    let n = Double(sums.count)
    let total = counts.reduce(0, +)
    guard total > 0 else { return Estimate(0, low: 0, high: .infinity) }
    let value = sums.reduce(0, +) / total
    guard sums.count > 1 else { return Estimate(value, low: 0, high: .infinity) }
    let half = t(sums.count) * deviation(of: value, sums, counts, total: total, n: n)
    return Estimate(value, low: value - half, high: value + half)
  }

  private static func deviation(of value: Double, _ sums: [Double], _ counts: [Double], total: Double, n: Double)
    -> Double
  {
    var squares = 0.0
    for i in sums.indices {
      let rest = sums[i] - value * counts[i]
      squares += rest * rest
    }
    let mean = total / n
    return (squares / (n * (n - 1))).squareRoot() / mean
  }

  /// Σ hits ÷ Σ counts as a share: never narrower than what as many independent customers could tell.
  ///
  /// Without a single miss the spread between observations is zero and says nothing; Wilson's interval (JASA 22, 1927) does.
  package static func share(_ hits: [Double], _ counts: [Double]) -> Estimate {
    let total = counts.reduce(0, +)
    guard total > 0 else { return Estimate(1, low: 0, high: 1) }
    let estimate = ratio(hits, counts)
    let wilson = wilson(hits.reduce(0, +), of: total)
    return Estimate(
      estimate.value, low: max(0, min(estimate.low, wilson.low)), high: min(1, max(estimate.high, wilson.high)))
  }

  static func wilson(_ hits: Double, of total: Double) -> (low: Double, high: Double) {
    let z = Mathematics.normalQuantile(0.5 + confidence / 2)
    let p = hits / total
    let middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    let half = z * (p * (1 - p) / total + z * z / (4 * total * total)).squareRoot() / (1 + z * z / total)
    return (max(0, middle - half), min(1, middle + half))
  }

  /// The length that a share `q` of all customers do not exceed, in nanoseconds.
  ///
  /// The interval is one of the distribution function turned over: how far the share below the estimate varies between
  /// observations, read back as lengths. So it is right for skewed tails, where a mean of quantiles is not.
  package static func quantile(_ q: Double, _ samples: [Sample]) -> Estimate {
    guard var pooled = samples.first else { return Estimate(0, low: 0, high: .infinity) }
    for sample in samples.dropFirst() { pooled.add(sample) }
    guard pooled.count > 0 else { return Estimate(0, low: 0, high: .infinity) }
    let value = pooled.quantile(q)
    let below = samples.map { $0.below(value) }
    let counts = samples.map(\.count)
    let n = Double(samples.count)
    var error = (q * (1 - q) / pooled.count).squareRoot()
    if samples.count > 1 {
      let share = below.reduce(0, +) / pooled.count
      error = max(error, deviation(of: share, below, counts, total: pooled.count, n: n))
    }
    let half = t(samples.count) * error
    let low = q - half <= 0 ? 0 : pooled.quantile(q - half)
    // Beyond the last customer nothing is known.
    let high = q + half >= 1 ? Double.infinity : pooled.quantile(q + half)
    return Estimate(value, low: low, high: high)
  }
}

extension Sample {
  private static func lowerBound(_ bucket: Int) -> Double {
    bucket == 0 ? 0 : Double(Tally.upperBound(of: bucket - 1))
  }

  /// The quantile, evenly spread within its bucket (which is at most 1/16 wide), in nanoseconds.
  package func quantile(_ q: Double) -> Double {
    let rank = q * count
    var seen = 0.0
    for i in buckets.indices where buckets[i] > 0 {
      let here = Double(buckets[i])
      if seen + here >= rank {
        let low = Sample.lowerBound(i)
        let high = min(Double(Tally.upperBound(of: i)), max(low, Double(maximum)))
        return low + (high - low) * max(0, rank - seen) / here
      }
      seen += here
    }
    return Double(maximum)
  }

  /// How many were at most this long, evenly spread within its bucket.
  package func below(_ length: Double) -> Double {
    var seen = 0.0
    for i in buckets.indices where buckets[i] > 0 {
      let low = Sample.lowerBound(i)
      if low >= length { break }
      let high = min(Double(Tally.upperBound(of: i)), max(low + 1, Double(maximum)))
      seen += Double(buckets[i]) * min(1, (length - low) / (high - low))
    }
    return seen
  }
}

/// How much of a run's beginning is thrown away, because it shows the empty system and not the one that is asked about.
///
/// MSER (White, *An Effective Truncation Heuristic for Bias Reduction in Simulation Output*, Simulation 69, 1997) on means of
/// short spans: cut where the squared error of the mean of what is left is smallest, at most half.
package enum WarmUp {
  /// How many of the first `means` to throw away.
  package static func cut(_ means: [Double]) -> Int {
    let n = means.count
    guard n >= 10 else { return 0 }
    var sum = 0.0
    var squares = 0.0
    var best = (at: 0, error: Double.infinity)
    // From the end, so that sums grow; positions in the first half are judged.
    for at in stride(from: n - 1, through: 0, by: -1) {
      sum += means[at]
      squares += means[at] * means[at]
      let left = Double(n - at)
      guard at <= n / 2 else { continue }
      let error = max(0, squares - sum * sum / left) / (left * left)
      if error <= best.error { best = (at, error) }
    }
    return best.at
  }
}
