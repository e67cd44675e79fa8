// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct HealthMonitorTests {
  private func plain(_ change: (inout HealthMonitor.Settings) -> Void = { _ in }) -> HealthMonitor {
    var settings = HealthMonitor.Settings()
    settings.jitter = 0
    change(&settings)
    return HealthMonitor(settings)
  }

  /// Plays the driver until `end`: makes each probe when it is due, answers it at once as `ok` says, and writes down
  /// what changed.
  ///
  /// A nil from `ok` leaves the probe unanswered.
  private func play(
    _ monitor: inout HealthMonitor, from start: Instant, until end: Instant, using random: inout SeededRandom,
    ok: (HealthMonitor.Kind, Instant) -> Bool?
  ) -> [String] {
    var log: [String] = []
    var now = start
    var turns = 0
    while let wake = monitor.nextWake, max(wake, now) <= end {
      turns += 1
      // A monitor that asks to be woken and then does nothing must fail here, not hang the test.
      guard turns <= 100_000 else {
        log.append("\(now.nanoseconds / 1_000_000) wakes without end")
        break
      }
      now = max(now, wake)
      let change = monitor.wake(now: now, using: &random)
      if change != .none { log.append("\(now.nanoseconds / 1_000_000) \(change)") }
      while let probe = monitor.probe(now: now) {
        guard let answer = ok(probe.kind, now) else { continue }
        let change = monitor.probed(ok: answer, kind: probe.kind, now: now, using: &random)
        if change != .none { log.append("\(now.nanoseconds / 1_000_000) \(change)") }
      }
      if let wrong = monitor.violation() { log.append("\(now.nanoseconds / 1_000_000) \(wrong)") }
    }
    return log
  }

  /// Probes at 0, 50, 150, 350, 750, 1550 ms, then every 2 s.
  @Test("a start is probed quickly at first")
  func startPace() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .zero)
    var at: [Int64] = []
    _ = play(&monitor, from: .zero, until: .s(8), using: &random) { _, now in
      at.append(now.nanoseconds / 1_000_000)
      return false
    }
    #expect(at == [0, 50, 150, 350, 750, 1550, 3150, 5150, 7150])
  }

  @Test("timeline: starts, serves, falters, is back")
  func timeline() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    #expect(!monitor.isReady && monitor.nextWake == nil && monitor.probe(now: .zero) == nil)
    monitor.started(now: .zero)
    let log = play(&monitor, from: .zero, until: .s(30), using: &random) { _, now in
      // Well from 300 ms, unwell from 10 s to 20 s.
      now >= .ms(300) && !(now >= .s(10) && now < .s(20))
    }
    // Ready by the probe at 350 ms; then every 2 s; the first failure at 10.35 s, two more 250 ms apart; back by the next.
    #expect(log == ["350 becameReady", "10850 becameUnready", "20850 becameReady"])
  }

  @Test("two failures and a success leave it ready; three do not", arguments: [2, 3])
  func threshold(failures: Int) {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .zero)
    var made = 0
    let log = play(&monitor, from: .zero, until: .s(20), using: &random) { _, _ in
      made += 1
      return made == 1 || made > 1 + failures
    }
    #expect(log.count == (failures == 2 ? 1 : 3))
  }

  @Test("not ready within startWithin: the start has failed, and nothing is probed until the next")
  func startFails() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .s(100))
    #expect(play(&monitor, from: .s(100), until: .s(500), using: &random) { _, _ in false } == ["130000 startFailed"])
    #expect(monitor.phase == .failed && monitor.nextWake == nil)
    #expect(monitor.probed(ok: true, kind: .ready, now: .s(131), using: &random) == .none)
    monitor.started(now: .s(140))
    #expect(play(&monitor, from: .s(140), until: .s(141), using: &random) { _, _ in true } == ["140000 becameReady"])
  }

  /// Invariant 2: probes that hang count as failed after their timeout; the driver need not notice.
  @Test("probes that are never answered count as failed")
  func hanging() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .zero)
    let log = play(&monitor, from: .zero, until: .s(20), using: &random) { _, now in now < .s(5) ? true : nil }
    // Sent at 6, 7.25 and 8.5 s (1 s of timeout and 250 ms between), the third lost at 9.5 s.
    #expect(log == ["0 becameReady", "9500 becameUnready"])
  }

  @Test("liveness: three in a row restart it, and it is not asked while starting")
  func liveness() {
    var random = SeededRandom(seed: 1)
    var monitor = plain { $0.checksLiveness = true }
    monitor.started(now: .zero)
    var firstLive: Instant?
    let log = play(&monitor, from: .zero, until: .s(40), using: &random) { kind, now in
      if kind == .live, firstLive == nil { firstLive = now }
      return kind == .ready ? now >= .ms(700) : now < .s(9)
    }
    #expect(firstLive == .ms(750))
    // Live probes at 0.75 + 2n s: those at 10.75, 12.75 and 14.75 fail.
    #expect(log == ["750 becameReady", "14750 restart"])
    #expect(monitor.phase == .dead && !monitor.isReady)
  }

  @Test("a start that fails liveness thresholds before it is ready is not killed for it")
  func slowStart() {
    var random = SeededRandom(seed: 1)
    var monitor = plain { $0.checksLiveness = true }
    monitor.started(now: .zero)
    let log = play(&monitor, from: .zero, until: .s(29), using: &random) { kind, now in
      #expect(kind == .ready)
      return false
    }
    #expect(log.isEmpty && monitor.phase == .starting)
  }

  /// A refused connection in traffic: the next probe comes at once, then every 250 ms, so three failures take 0.5 s.
  @Test("suspicion from traffic brings the next probe forward, but not more often than doubtEvery")
  func suspected() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .zero)
    #expect(play(&monitor, from: .zero, until: .ms(1000), using: &random) { _, _ in true } == ["0 becameReady"])
    monitor.suspected(now: .ms(1000))
    #expect(monitor.nextWake == .ms(1000))
    var close = monitor
    #expect(
      play(&close, from: .ms(1000), until: .s(3), using: &random) { _, _ in false } == ["1500 becameUnready"])
    // Answered well: a thousand more suspicions within 250 ms make no further probe.
    #expect(play(&monitor, from: .ms(1000), until: .ms(1000), using: &random) { _, _ in true }.isEmpty)
    for _ in 0..<1000 { monitor.suspected(now: .ms(1001)) }
    #expect(monitor.nextWake == .ms(1250))
    // Suspicion never decides by itself.
    #expect(monitor.isReady)
  }

  @Test("the end of a ready program is a change, of another one none")
  func exited() {
    var random = SeededRandom(seed: 1)
    var monitor = plain()
    monitor.started(now: .zero)
    #expect(monitor.exited(now: .zero) == .none)
    monitor.started(now: .s(1))
    _ = play(&monitor, from: .s(1), until: .s(1), using: &random) { _, _ in true }
    #expect(monitor.exited(now: .s(2)) == .becameUnready)
    #expect(monitor.phase == .down && monitor.nextWake == nil)
  }

  @Test("probes of many instances spread over time")
  func jitter() {
    var random = SeededRandom(seed: 2)
    var nexts: [Int64] = []
    for _ in 0..<200 {
      var monitor = HealthMonitor()
      monitor.started(now: .zero)
      _ = monitor.probe(now: .zero)
      _ = monitor.probed(ok: true, kind: .ready, now: .zero, using: &random)
      nexts.append((monitor.nextWake ?? .zero).nanoseconds / 1_000_000)
    }
    nexts.sort()
    #expect(nexts[0] >= 1800 && nexts[199] <= 2200 && nexts[180] - nexts[20] > 250)
  }

  /// Everything at random; then the program is well, and traffic comes back in bounded time.
  @Test("walks: never unsound, and a well program is ready in bounded time")
  func walks() {
    for seed in resilienceSeeds(400) {
      var random = SeededRandom(seed: seed)
      var settings = HealthMonitor.Settings()
      settings.checksLiveness = random.chance(0.5)
      settings.failuresToUnready = random.index(below: 5)
      settings.successesToReady = random.index(below: 4)
      settings.failuresToRestart = random.index(below: 5)
      settings.jitter = random.unit()
      var monitor = HealthMonitor(settings)
      var now = Instant.zero
      for step in 0..<300 {
        switch random.index(below: 8) {
        case 0: now = now.advanced(by: random.nanoseconds(upTo: random.chance(0.05) ? 40_000_000_000 : 1_000_000_000))
        case 1: if !monitor.isWatched || random.chance(0.05) { monitor.started(now: now) }
        case 2: if random.chance(0.05) { _ = monitor.exited(now: now) }
        case 3, 4: _ = monitor.probe(now: now)
        case 5:
          _ = monitor.probed(
            ok: random.chance(0.6), kind: random.chance(0.7) ? .ready : .live, now: now, using: &random)
        case 6: _ = monitor.wake(now: now, using: &random)
        default: monitor.suspected(now: now)
        }
        if let wrong = monitor.violation() {
          Issue.record("seed \(seed), step \(step): \(wrong)")
          break
        }
      }
      // A start whose time is over, or a last liveness failure, may come of the past yet: the keeper restarts it then.
      // What is out is answered or lost within a second; then at most four probes at the slowest pace, jittered to double.
      for _ in 0..<2 {
        if !monitor.isWatched { monitor.started(now: now) }
        let end = now + .seconds(30)
        _ = play(&monitor, from: now, until: end, using: &random) { _, _ in true }
        now = end
      }
      if !monitor.isReady { Issue.record("seed \(seed): still \(monitor.phase)") }
    }
  }

  /// A program without a health check: asked until its port takes a connection, and not after.
  @Test("one that is asked once is ready until it exits, and fails its start in time")
  func asksOnce() {
    var random = SeededRandom(seed: 1)
    var monitor = plain {
      $0.asksOnce = true
      $0.startWithin = .seconds(10)
    }
    monitor.started(now: .zero)
    let ready = play(&monitor, from: .zero, until: Instant(nanoseconds: 60_000_000_000), using: &random) { _, now in
      now.nanoseconds > 3_000_000_000
    }
    // 50, 100, 200, then a quarter of a second each.
    #expect(ready == ["3100 becameReady"])
    monitor.suspected(now: Instant(nanoseconds: 61_000_000_000))
    #expect(monitor.isReady && monitor.nextWake == .distantFuture)
    #expect(monitor.exited(now: Instant(nanoseconds: 62_000_000_000)) == .becameUnready)
    monitor.started(now: Instant(nanoseconds: 62_000_000_000))
    let failed = play(
      &monitor, from: Instant(nanoseconds: 62_000_000_000), until: Instant(nanoseconds: 90_000_000_000), using: &random
    ) { _, _ in false }
    #expect(failed == ["72000 startFailed"])
  }

  /// Given up it would stay so: nobody says of what runs elsewhere that it has been started.
  @Test("what runs elsewhere is waited for as long as it takes, and never restarted", arguments: [true, false])
  func elsewhere(isOurs: Bool) {
    var random = SeededRandom(seed: 1)
    var monitor = plain {
      $0.isOurs = isOurs
      $0.checksLiveness = true
    }
    monitor.started(now: .zero)
    let hour = Instant.zero.advanced(by: 3_600_000_000_000)
    let log = play(&monitor, from: .zero, until: hour.advanced(by: 3_600_000_000_000), using: &random) { kind, now in
      kind == .ready && now >= hour
    }
    if isOurs {
      #expect(log == ["30000 startFailed"])
    } else {
      #expect(log.count == 1 && log[0].hasSuffix(" becameReady") && monitor.phase == .ready)
    }
  }
}
