// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct RestartBackoffTests {
  private func plain() -> RestartBackoff {
    var settings = RestartBackoff.Settings()
    settings.jitter = 0
    return RestartBackoff(settings)
  }

  /// A program that ends at once, each time.
  @Test("200 ms, doubling, up to 30 s")
  func loop() {
    var random = SeededRandom(seed: 1)
    var backoff = plain()
    var now = Instant.zero
    var waits: [Int64] = []
    for _ in 0..<12 {
      backoff.started(now: now)
      let start = backoff.exited(now: now, using: &random)
      waits.append(start.since(now) / 1_000_000)
      now = start
    }
    #expect(waits == [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000, 30_000])
    #expect(backoff.isCrashLoop && backoff.exits == 12)
  }

  @Test(
    "staying up for a minute ends the row, a little less does not",
    arguments: [(59_999, 1600), (60_000, 200)] as [(Int64, Int64)])
  func stable(up: Int64, wait: Int64) {
    var random = SeededRandom(seed: 1)
    var backoff = plain()
    for _ in 0..<3 {
      backoff.started(now: .zero)
      _ = backoff.exited(now: .zero, using: &random)
    }
    backoff.started(now: .s(10))
    let now = Instant.s(10) + .milliseconds(up)
    #expect(backoff.exited(now: now, using: &random).since(now) == wait * 1_000_000)
  }

  /// One that cannot even be started counts as an exit: without `started` there is nothing to have been stable.
  @Test("a start that fails grows the wait too; a start by hand resets it")
  func neverStarted() {
    var random = SeededRandom(seed: 1)
    var backoff = plain()
    backoff.started(now: .zero)
    _ = backoff.exited(now: .s(1), using: &random)
    #expect(backoff.exited(now: .s(1000), using: &random) == .s(1000.4))
    backoff.reset()
    #expect(!backoff.isCrashLoop)
    #expect(backoff.exited(now: .s(1000), using: &random) == .s(1000.2))
  }

  /// DP-5: a hundred instances that died of one cause do not come back together.
  @Test("jitter spreads the starts and only adds")
  func jitter() {
    var random = SeededRandom(seed: 4)
    var starts: [Int64] = []
    for _ in 0..<100 {
      var backoff = RestartBackoff()
      for _ in 0..<20 { _ = backoff.exited(now: .zero, using: &random) }
      starts.append(backoff.exited(now: .zero, using: &random).nanoseconds / 1_000_000)
      #expect(backoff.violation() == nil)
    }
    starts.sort()
    #expect(starts[0] >= 30_000 && starts[99] <= 36_000)
    #expect(starts[90] - starts[10] > 3_000)
  }
}
