// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirExample

@Suite
struct ServiceTimeTests {
  private static func milliseconds(_ value: Double) -> TimeLength { TimeLength(nanoseconds: Int64(value * 1e6)) }

  /// 200 000 draws; the standard error of a share q is √(q(1 − q) ÷ n), of the mean σ ÷ √n with
  /// σ² = mean² · (exp(s²) − 1).
  @Test("median, 99th percentile and mean are those that were given, within 4 standard errors")
  func lognormal() throws {
    let time = try #require(
      ServiceTime(median: ServiceTimeTests.milliseconds(4), p99: ServiceTimeTests.milliseconds(25)))
    var random = Chance(seed: 17)
    let count = 200_000
    var below = (median: 0, p99: 0)
    var sum = 0.0
    var squares = 0.0
    for _ in 0..<count {
      let draw = time.draw(using: &random)
      if draw < 4_000_000 { below.median += 1 }
      if draw < 25_000_000 { below.p99 += 1 }
      sum += Double(draw)
      squares += Double(draw) * Double(draw)
    }
    let n = Double(count)
    #expect(abs(Double(below.median) / n - 0.5) < 4 * (0.25 / n).squareRoot())
    #expect(abs(Double(below.p99) / n - 0.99) < 4 * (0.99 * 0.01 / n).squareRoot())
    let deviation = (squares / n - (sum / n) * (sum / n)).squareRoot()
    #expect(abs(sum / n - time.meanNanoseconds) < 4 * deviation / n.squareRoot())
    // ln(25 ÷ 4) ÷ 2.3263 = 0.7878; 4 ms · exp(0.7878² ÷ 2) = 5.455 ms.
    #expect(abs(time.meanNanoseconds - 5.455e6) < 0.001e6)
  }

  @Test("without a 99th percentile every draw is the median; of nothing it is nothing")
  func constant() throws {
    var random = Chance(seed: 1)
    let constant = try #require(ServiceTime(median: ServiceTimeTests.milliseconds(3), p99: nil))
    #expect(constant.draw(using: &random) == 3_000_000)
    #expect(ServiceTime.none.draw(using: &random) == 0)
    #expect(ServiceTime(median: ServiceTimeTests.milliseconds(3), p99: ServiceTimeTests.milliseconds(2)) == nil)
  }

  @Test("the same seed gives the same draws")
  func seeded() throws {
    let time = try #require(
      ServiceTime(median: ServiceTimeTests.milliseconds(4), p99: ServiceTimeTests.milliseconds(25)))
    var a = Chance(seed: 9)
    var b = Chance(seed: 9)
    for _ in 0..<100 { #expect(time.draw(using: &a) == time.draw(using: &b)) }
  }

  @Test(
    "lengths of time are read with their unit",
    arguments: [
      ("4ms", 4_000_000), ("1.5s", 1_500_000_000), ("250us", 250_000), ("2m", 120_000_000_000), ("0", 0), ("7ns", 7),
      ("4", nil), ("ms", nil), ("-1s", nil), ("1e300s", nil), ("", nil),
    ])
  func lengths(text: String, nanoseconds: Int64?) {
    #expect(TimeLength(argument: text)?.nanoseconds == nanoseconds)
  }

  @Test(
    "a database is a path or a sqlite: URL",
    arguments: [
      ("sqlite:///abs/notes.db", "/abs/notes.db"), ("sqlite:data/notes.db", "data/notes.db"),
      ("sqlite://data/notes.db", "data/notes.db"), ("sqlite:/abs/a%20b.db", "/abs/a b.db"),
      ("/abs/a%20b.db", "/abs/a%20b.db"), ("data/notes.db", "data/notes.db"),
      ("postgres://host/db", nil), ("sqlite:", nil), ("", nil),
    ])
  func databases(text: String, path: String?) { #expect(DatabaseLocation.path(of: text) == path) }
}
