// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct TallyTests {
  /// Every bucket ends where the next begins, and a length is below the end of its bucket but not below its beginning.
  @Test("buckets tile the line")
  func buckets() {
    var lower: Int64 = 0
    for bucket in 0..<Tally.bucketCount {
      let upper = Tally.upperBound(of: bucket)
      #expect(upper > lower)
      #expect(Tally.bucket(of: lower) == bucket)
      #expect(Tally.bucket(of: upper - 1) == bucket)
      lower = upper
    }
    // 2⁴² µs: 51 days.
    #expect(lower == Int64(1) << 42 * 1000)
    #expect(Tally.bucket(of: lower) == Tally.bucketCount - 1)
    #expect(Tally.bucket(of: .max) == Tally.bucketCount - 1)
    #expect(Tally.bucket(of: -1) == 0)
  }

  /// The bound that the type's comment promises: at most 1 µs off below 32 µs and 1/16 above.
  @Test("a quantile is off by at most 6.25 % (or 1 µs)", arguments: [1, 2, 3, 4, 5] as [UInt64])
  func quantiles(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var tally = Tally()
    var exact: [Int64] = []
    for _ in 0..<5000 {
      // From 100 ns to 1000 s, evenly over the decades' binary exponents.
      let exponent = 7 + random.index(below: 33)
      let length = Int64(1) << Int64(exponent) + random.nanoseconds(upTo: Int64(1) << Int64(exponent))
      tally.record(length)
      exact.append(length)
    }
    exact.sort()
    for q in [0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1] {
      let truth = exact[max(1, Int((q * 5000).rounded(.up))) - 1]
      let told = try #require(tally.quantile(q))
      #expect(abs(Double(told - truth)) <= max(1000, Double(truth) / 16))
    }
    #expect(tally.quantile(1) == exact.last)
    #expect(tally.maximum == exact.last)
  }

  /// 1000 lengths of 32 … 34 µs, one bucket: the upper end would be 34 µs for every quantile.
  @Test("lengths are evenly spread within their bucket", arguments: [0.1, 0.5, 0.99])
  func spread(q: Double) throws {
    var tally = Tally()
    for i in 0..<1000 as Range<Int64> { tally.record(32_000 + 2 * i) }
    let told = try #require(tally.quantile(q))
    #expect(abs(Double(told) - (32_000 + 2000 * q)) <= 2)
  }

  @Test("merging loses nothing")
  func merge() {
    var random = SeededRandom(seed: 9)
    var whole = Tally()
    var halves = [Tally(), Tally()]
    for i in 0..<1000 {
      let length = random.nanoseconds(upTo: 10_000_000_000)
      whole.record(length)
      halves[i % 2].record(length)
    }
    halves[0].merge(halves[1])
    // The sums are exact: whole numbers below 2⁵³ in all.
    #expect(halves[0] == whole)
    #expect(whole.buckets.reduce(0, +) == whole.count)
  }

  @Test("of nothing there is no quantile")
  func nothing() {
    let tally = Tally()
    #expect(tally.quantile(0.5) == nil)
    #expect(tally.mean == 0)
  }
}
