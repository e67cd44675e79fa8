// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct TunnelWatchTests {
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  @Test("idle exactly when nothing has moved for so long")
  func idle() {
    var settings = TunnelWatch.Settings()
    settings.idle = .seconds(5)
    var watch = TunnelWatch(settings, now: at(0))
    #expect(watch.nextWake == at(5000))
    #expect(!watch.isIdle(now: at(4999)))
    #expect(watch.isIdle(now: at(5000)))
    watch.moved(now: at(3000))
    #expect(!watch.isIdle(now: at(7999)))
    #expect(watch.isIdle(now: at(8000)))
    #expect(watch.violation() == nil)
  }

  @Test("a burst passes, then one an interval; after a refusal none does")
  func messages() {
    var settings = TunnelWatch.Settings()
    settings.messages = Rate(perSecond: 10)
    settings.burst = 3
    var watch = TunnelWatch(settings, now: at(0))
    let burst = (0..<3).map { _ in watch.message(now: at(0)) }
    #expect(burst == [true, true, true])
    var other = watch
    let refused = [watch.message(now: at(99)), watch.message(now: at(10_000))]
    #expect(refused == [false, false])
    let spaced = [other.message(now: at(100)), other.message(now: at(199))]
    #expect(spaced == [true, false])
  }

  @Test("without a rate every message passes")
  func unlimited() {
    var watch = TunnelWatch(TunnelWatch.Settings(), now: at(0))
    let all = (0..<10_000).map { _ in watch.message(now: at(0)) }
    #expect(!all.contains(false))
  }
}
