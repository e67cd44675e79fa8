// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

private typealias Breaker = CircuitBreaker

/// Settings without chance, so that a timeline can be written down.
private func plain(_ change: (inout Breaker.Settings) -> Void = { _ in }) -> Breaker.Settings {
  var settings = Breaker.Settings()
  settings.restJitter = 0
  settings.ramp = .zero
  change(&settings)
  return settings
}

extension CircuitBreaker {
  /// One call that is let through and ends at once.
  fileprivate mutating func call(
    _ outcome: Outcome, now: Instant, using random: inout SeededRandom
  ) -> Change? {
    guard case .allow(let ticket) = admit(now: now, using: &random) else { return nil }
    return settle(ticket, outcome, now: now, using: &random)
  }
}

struct CircuitBreakerTests {
  // MARK: When it opens

  /// Twenty calls are needed before the share counts: with nineteen only the row of failures can open it.
  @Test("the share counts from ofAtLeast calls on", arguments: [18, 19, 20, 21])
  func minimum(calls: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.inARow = 0 })
    for i in 1...calls {
      let change = breaker.call(.failure, now: .ms(Int64(i)), using: &random)
      #expect(change == (i < 20 ? Breaker.Change.none : i == 20 ? .opened(until: .ms(30_020)) : nil))
    }
    #expect(breaker.phase == (calls < 20 ? .closed : .open))
  }

  @Test("opens at half, not below", arguments: [(9, 11), (10, 10), (11, 9)])
  func share(failures: Int, successes: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    // Failures among successes, so that no row of five opens it.
    var left = (failures, successes)
    for i in 0..<20 {
      let outcome: Breaker.Outcome = i % 2 == 0 && left.0 > 0 || left.1 == 0 ? .failure : .success
      if outcome == .failure { left.0 -= 1 } else { left.1 -= 1 }
      _ = breaker.call(outcome, now: .ms(Int64(i)), using: &random)
    }
    #expect(breaker.phase == (failures < 10 ? .closed : .open))
  }

  @Test("a tenth of thirty is three, though not in binary")
  func exactShare() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(
      plain {
        $0.failures = 0.1
        $0.ofAtLeast = 30
        $0.inARow = 0
      })
    for i in 0..<29 { _ = breaker.call(i < 2 ? .failure : .success, now: .zero, using: &random) }
    #expect(breaker.phase == .closed)
    _ = breaker.call(.failure, now: .zero, using: &random)
    #expect(breaker.phase == .open)
  }

  /// A quiet dependency: five in a row, however far apart, with fewer than twenty calls in the window.
  @Test("five in a row open it while few calls are in the window; four and a success do not")
  func inARow() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for i in 0..<4 { #expect(breaker.call(.failure, now: .s(Double(i) * 60), using: &random) == Breaker.Change.none) }
    #expect(breaker.call(.success, now: .s(240), using: &random) == Breaker.Change.none)
    for i in 5..<9 { #expect(breaker.call(.failure, now: .s(Double(i) * 60), using: &random) == Breaker.Change.none) }
    #expect(breaker.call(.failure, now: .s(540), using: &random) == .opened(until: .s(570)))
  }

  /// With many calls a row of five is chance (p⁵ of every five): there the share decides, or a row as long as what is
  /// enough to judge by.
  ///
  /// Without it a busy callee that turned bad would be called for half a window.
  @Test("with enough calls in the window only a row of ofAtLeast opens it")
  func rowAmongMany() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for _ in 0..<600 { _ = breaker.call(.success, now: .zero, using: &random) }
    for _ in 0..<19 { #expect(breaker.call(.failure, now: .zero, using: &random) == Breaker.Change.none) }
    #expect(breaker.totals.failuresInARow == 19)
    guard case .opened = breaker.call(.failure, now: .zero, using: &random) else {
      Issue.record("twenty in a row did not open it")
      return
    }
  }

  /// A row that lasts opens it whatever came before: where a balancer avoids who fails, its calls come seconds apart.
  @Test("five in a row over a second open it though the window is full of successes", arguments: [999, 1000])
  func rowThatLasts(milliseconds: Int64) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for _ in 0..<600 { _ = breaker.call(.success, now: .zero, using: &random) }
    for _ in 0..<4 { _ = breaker.call(.failure, now: .zero, using: &random) }
    let change = breaker.call(.failure, now: Instant(nanoseconds: milliseconds * 1_000_000), using: &random)
    #expect((change != Breaker.Change.none) == (milliseconds == 1000))
  }

  /// Presets of libraries that know no rows have none.
  @Test("no row opens it when rows do not count")
  func rowsSwitchedOff() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.inARow = 0 })
    for _ in 0..<600 { _ = breaker.call(.success, now: .zero, using: &random) }
    for _ in 0..<40 { #expect(breaker.call(.failure, now: .zero, using: &random) == Breaker.Change.none) }
  }

  @Test("half slow opens it, if something is slow at all", arguments: [true, false])
  func slow(counts: Bool) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.slow = counts ? .milliseconds(100) : nil })
    for i in 0..<20 { _ = breaker.call(i % 2 == 0 ? .slow : .success, now: .zero, using: &random) }
    #expect(breaker.phase == (counts ? .open : .closed))
  }

  @Test("what a status and a length say of the dependency")
  func outcomes() {
    var settings = Breaker.Settings()
    settings.slow = .milliseconds(100)
    let thresholds = Breaker.Thresholds(settings)
    for status: UInt16 in [500, 502, 503, 599, 429] { #expect(thresholds.outcome(status: status, took: 1) == .failure) }
    for status: UInt16 in [200, 304, 400, 404, 499] { #expect(thresholds.outcome(status: status, took: 1) == .success) }
    #expect(thresholds.outcome(status: 200, took: 100_000_000) == .success)
    #expect(thresholds.outcome(status: 200, took: 100_000_001) == .slow)
    #expect(Breaker.Thresholds(Breaker.Settings()).outcome(status: 200, took: .max) == .success)
  }

  @Test("calls leave the window as time goes by", arguments: [8_999, 9_000, 10_000] as [Int64])
  func windowOfTime(later: Int64) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.inARow = 0 })
    // All in the first bucket (0 … 1 s); it leaves when the bucket of 10 … 11 s begins.
    for _ in 0..<19 { _ = breaker.call(.failure, now: .ms(999), using: &random) }
    _ = breaker.call(.failure, now: .ms(999 + later), using: &random)
    #expect(breaker.phase == (999 + later < 10_000 ? .open : .closed))
  }

  @Test("the oldest call leaves a window of calls")
  func windowOfCalls() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(
      plain {
        $0.window = .calls(4)
        $0.ofAtLeast = 100
        $0.inARow = 0
        $0.failures = 0.75
      })
    for outcome: Breaker.Outcome in [.failure, .failure, .success, .success, .success, .failure, .success] {
      #expect(breaker.call(outcome, now: .zero, using: &random) == Breaker.Change.none)
    }
    #expect(breaker.totals.calls == 4 && breaker.totals.failures == 1)
    // The minimum is never more than the window: resilience4j's rule.
    #expect(breaker.thresholds.ofAtLeast == 4)
    #expect(breaker.call(.failure, now: .zero, using: &random) == Breaker.Change.none)
    #expect(breaker.call(.failure, now: .zero, using: &random) == .opened(until: .s(30)))
  }

  @Test("what was ignored counts nowhere")
  func ignored() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    let before = breaker
    for _ in 0..<100 { _ = breaker.call(.ignored, now: .s(5), using: &random) }
    #expect(breaker == before)
  }

  // MARK: Open, probing, closed

  /// The life of a breaker, as the type's picture has it.
  @Test("timeline: open, refuse, probe, fail, rest longer, probe, close")
  func timeline() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    var log: [String] = []
    func tell(_ now: Instant, _ what: String) { log.append("\(now.nanoseconds / 1_000_000) \(what)") }
    for _ in 0..<5 { _ = breaker.call(.failure, now: .ms(0), using: &random) }
    tell(.ms(0), "\(breaker.phase) until \(breaker.view.until.nanoseconds / 1_000_000)")
    for at: Int64 in [0, 29_999] {
      if case .refuse(let until) = breaker.admit(now: .ms(at), using: &random) {
        tell(.ms(at), "refuse until \(until.nanoseconds / 1_000_000)")
      }
    }
    guard case .allow(let probe) = breaker.admit(now: .ms(30_000), using: &random) else { return }
    tell(.ms(30_000), "allow \(probe.isProbe ? "probe" : "call")")
    if case .refuse(let until) = breaker.admit(now: .ms(30_001), using: &random) {
      tell(.ms(30_001), "refuse until \(until.nanoseconds / 1_000_000)")
    }
    if case .opened(let until) = breaker.settle(probe, .failure, now: .ms(30_500), using: &random) {
      tell(.ms(30_500), "opened until \(until.nanoseconds / 1_000_000)")
    }
    guard case .allow(let second) = breaker.admit(now: .ms(75_500), using: &random) else { return }
    tell(.ms(75_500), "\(breaker.settle(second, .success, now: .ms(75_600), using: &random))")
    tell(.ms(75_600), "\(breaker.phase)")
    #expect(
      log == [
        "0 open until 30000",
        "0 refuse until 30000",
        "29999 refuse until 30000",
        "30000 allow probe",
        "30001 refuse until 40000",
        "30500 opened until 75500",
        "75500 closed",
        "75600 closed",
      ])
  }

  @Test("rests grow by half up to the longest, and start over after a ramp that was passed whole")
  func growth() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.ramp = .seconds(10) })
    var now = Instant.zero
    var rests: [Double] = []
    for _ in 0..<9 {
      repeat {
        if case .opened(let until)? = breaker.call(.failure, now: now, using: &random) {
          rests.append(Double(until.since(now)) / 1e9)
        }
      } while breaker.phase != .open
      now = breaker.nextWake ?? now
    }
    // 30 · 1.5ⁿ, capped at 300.
    #expect(rests == [30, 45, 67.5, 101.25, 151.875, 227.8125, 300, 300, 300])

    // Closed and opened again within the ramp: still the same trouble.
    #expect(breaker.call(.success, now: now, using: &random) == .closed)
    let inRamp = now.advanced(by: 9_999_999_999)
    #expect(breaker.view.until.since(now) == 10_000_000_000)
    var outcomes = Breaker.Outcomes()
    for _ in 0..<5 { outcomes.add(.failure) }
    var again = breaker
    #expect(
      again.absorb(outcomes, epoch: again.epoch, now: inRamp, using: &random)
        == .opened(until: inRamp + .seconds(300)))
    // After it: a new trouble.
    let after = now.advanced(by: 10_000_000_000)
    #expect(
      breaker.absorb(outcomes, epoch: breaker.epoch, now: after, using: &random)
        == .opened(until: after + .seconds(30)))
  }

  @Test("rests differ by the jitter, both ways, and no more")
  func jitter() {
    var random = SeededRandom(seed: 3)
    var low = Int64.max
    var high: Int64 = 0
    for _ in 0..<2000 {
      var breaker = Breaker()
      for _ in 0..<5 {
        if case .opened(let until)? = breaker.call(.failure, now: .zero, using: &random) {
          low = min(low, until.nanoseconds)
          high = max(high, until.nanoseconds)
        }
      }
    }
    #expect(low >= 24_000_000_000 && low < 24_100_000_000)
    #expect(high <= 36_000_000_000 && high > 35_900_000_000)
  }

  /// Invariant 2: whoever was let through while it was closed says nothing to the open, probing or next closed phase.
  @Test("a result from an earlier phase changes nothing")
  func stale() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    guard case .allow(let old) = breaker.admit(now: .zero, using: &random) else { return }
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    var check = breaker
    #expect(check.settle(old, .failure, now: .s(1), using: &random) == Breaker.Change.none && check == breaker)
    breaker.wake(now: .s(30))
    check = breaker
    #expect(check.settle(old, .success, now: .s(30), using: &random) == Breaker.Change.none && check == breaker)
    #expect(breaker.call(.success, now: .s(30), using: &random) == .closed)
    check = breaker
    #expect(check.settle(old, .failure, now: .s(31), using: &random) == Breaker.Change.none && check == breaker)
    #expect(breaker.epoch == 3)
  }

  @Test("a probe that never comes back is replaced after its lease, and its late answer changes nothing")
  func lease() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    guard let hung = breaker.acquireProbe(now: .s(30)) else { return }
    #expect(breaker.acquireProbe(now: .ms(39_999)) == nil)
    #expect(breaker.nextWake == .s(40))
    guard let second = breaker.acquireProbe(now: .s(40)) else { return }
    #expect(second != hung && second.epoch == hung.epoch)
    let before = breaker
    #expect(breaker.settle(hung, .success, now: .s(41), using: &random) == Breaker.Change.none)
    #expect(breaker == before)
    #expect(breaker.settle(second, .success, now: .s(41), using: &random) == .closed)
  }

  @Test("an ignored probe gives its place back at once")
  func ignoredProbe() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    guard let first = breaker.acquireProbe(now: .s(30)) else { return }
    #expect(breaker.settle(first, .ignored, now: .s(31), using: &random) == Breaker.Change.none)
    #expect(breaker.phase == .probing && breaker.probesOut(now: .s(31)) == 0)
    #expect(breaker.acquireProbe(now: .s(31)) != nil)
  }

  @Test("a slow probe is a failed one when slowness counts", arguments: [true, false])
  func slowProbe(counts: Bool) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.slow = counts ? .seconds(1) : nil })
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    let change = breaker.call(.slow, now: .s(30), using: &random)
    #expect(change == (counts ? .opened(until: .s(75)) : .closed))
  }

  @Test("it closes after as many answered probes as asked for", arguments: 1...4)
  func probesToClose(wanted: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.probesToClose = wanted })
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    for i in 1...wanted {
      let change = breaker.call(.success, now: .s(30 + Double(i)), using: &random)
      #expect(change == (i < wanted ? Breaker.Change.none : .closed))
    }
  }

  /// The admitted share over the ramp: from a tenth at its start, in a line, to all at its end.
  @Test("the ramp admits a growing share", arguments: [0.0, 0.25, 0.5, 0.75, 0.99, 1.0])
  func ramp(passed: Double) {
    var random = SeededRandom(seed: 5)
    var breaker = Breaker(plain { $0.ramp = .seconds(10) })
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    #expect(breaker.call(.success, now: .s(30), using: &random) == .closed)
    let n = 20_000
    var allowed = 0
    for _ in 0..<n {
      switch breaker.admit(now: .s(30 + passed * 10), using: &random) {
      case .allow: allowed += 1
      case .refuse(let until): if until != .s(40) { Issue.record("refused until \(until)") }
      }
    }
    let share = 0.1 + 0.9 * passed
    let error = (share * (1 - share) / Double(n)).squareRoot()
    #expect(abs(Double(allowed) / Double(n) - share) <= 4 * error + 1e-6)
  }

  // MARK: Many callers

  /// RP-3 for the value: a thousand callers at the half-open moment, by both doors.
  @Test("1 000 callers at the half-open moment: exactly N probes", arguments: [1, 2, 3, 10, 16])
  func thundering(probes: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain { $0.probes = probes })
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }

    var alone = breaker
    var out: [Breaker.Ticket] = []
    for _ in 0..<1000 {
      if case .allow(let ticket) = alone.admit(now: .s(30), using: &random) { out.append(ticket) }
    }
    #expect(out.count == probes && out.allSatisfy(\.isProbe) && Set(out).count == probes)

    // Four loops with the view of before: each caller is told to ask for a permit.
    let view = breaker.view
    var permits = 0
    for _ in 0..<1000 {
      #expect(view.admit(now: .s(30), using: &random) == .askPermit)
      if breaker.acquireProbe(now: .s(30)) != nil { permits += 1 }
    }
    #expect(permits == probes && breaker.probesOut(now: .s(30)) == probes)
    // All hang: after the lease there are N again, not one more.
    permits = 0
    for _ in 0..<1000 where breaker.acquireProbe(now: .s(40)) != nil { permits += 1 }
    #expect(permits == probes && breaker.violation() == nil)
  }

  @Test("a copy that has not heard of the closing gets an ordinary ticket")
  func lateAsker() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    for _ in 0..<5 { _ = breaker.call(.failure, now: .zero, using: &random) }
    let view = breaker.view
    #expect(breaker.call(.success, now: .s(30), using: &random) == .closed)
    #expect(view.admit(now: .s(30), using: &random) == .askPermit)
    #expect(breaker.acquireProbe(now: .s(30)) == Breaker.Ticket(epoch: breaker.epoch))
  }

  @Test("a view is small and trivial")
  func viewSize() {
    #expect(MemoryLayout<Breaker.View>.size <= 40)
    #expect(MemoryLayout<Breaker.Ticket>.size == 8)
    #expect(MemoryLayout<Breaker.Outcomes>.size == 16)
  }

  /// Out of the same draw, view and breaker give the same answer, in every phase.
  @Test("the view decides as the breaker does")
  func viewAgrees() {
    for seed in resilienceSeeds(300) {
      var walk = Walk(seed: seed)
      for step in 0..<200 {
        walk.step()
        var copy = walk.breaker
        let view = copy.view
        var first = walk.random
        var second = walk.random
        let leave = view.admit(now: walk.now, using: &first)
        let admission = copy.admit(now: walk.now, using: &second)
        let agree =
          switch (leave, admission) {
          case (.allow, .allow(let ticket)): ticket == Breaker.Ticket(epoch: view.epoch)
          case (.refuse(let a), .refuse(let b)): a == b
          case (.askPermit, .allow(let ticket)): ticket.isProbe
          case (.askPermit, .refuse(let until)): until > walk.now
          default: false
          }
        if !agree { Issue.record("seed \(seed), step \(step): view \(leave), breaker \(admission)") }
      }
    }
  }

  /// Chunks of random length of the same outcomes: equal state, unless a chunk hides a moment at which the singles tripped.
  @Test("a batch absorbed equals the same singles")
  func absorbed() {
    var equal = 0
    var hidden = 0
    for seed in resilienceSeeds(500) {
      var random = SeededRandom(seed: seed)
      let shareOfFailures = random.unit()
      var singles = Breaker(plain { $0.slow = .seconds(1) })
      var batches = singles
      var now = Instant.zero
      for step in 0..<50 where singles.phase == .closed {
        now = now.advanced(by: random.nanoseconds(upTo: 1_500_000_000))
        var batch = Breaker.Outcomes()
        var tripped = false
        var trippedEarly = false
        let view = batches.view
        for _ in 0..<(1 + random.index(below: 8)) {
          if tripped { trippedEarly = true }
          let outcome: Breaker.Outcome =
            random.chance(shareOfFailures) ? .failure : random.chance(0.2) ? .slow : .success
          batch.add(outcome)
          if singles.settle(Breaker.Ticket(epoch: 0), outcome, now: now, using: &random) != .none { tripped = true }
        }
        let change = batches.absorb(batch, epoch: 0, now: now, using: &random)
        if trippedEarly {
          hidden += 1
          break
        }
        if singles != batches { Issue.record("seed \(seed), step \(step)") }
        // What trips here was foreseen by the copy, unless calls have aged meanwhile (then it may foresee more), or a row
        // has lasted long enough: of time the copy knows nothing.
        let row = batch.successes == 0 ? view.window.failuresInARow + batch.failures : batch.failuresInARow
        if row < 5 && change != .none && now.since(.zero) < 9_000_000_000
          && !view.trips(adding: batch, by: batches.thresholds)
        {
          Issue.record("seed \(seed), step \(step): not foreseen")
        }
        equal += 1
      }
      #expect(batches.violation() == nil && singles.violation() == nil)
    }
    #expect(equal > 2000 && hidden > 20)
  }

  @Test("a batch under a stale epoch, or of nothing, changes nothing")
  func staleBatch() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    var batch = Breaker.Outcomes()
    let fresh = breaker
    #expect(breaker.absorb(batch, epoch: 0, now: .s(50), using: &random) == Breaker.Change.none && breaker == fresh)
    for _ in 0..<100 { batch.add(.failure) }
    #expect(breaker.absorb(batch, epoch: 7, now: .zero, using: &random) == Breaker.Change.none && breaker == fresh)
    #expect(breaker.absorb(batch, epoch: 0, now: .zero, using: &random) == .opened(until: .s(30)))
    let open = breaker
    #expect(breaker.absorb(batch, epoch: 0, now: .s(1), using: &random) == Breaker.Change.none && breaker == open)
    #expect(breaker.absorb(batch, epoch: 1, now: .s(1), using: &random) == Breaker.Change.none && breaker == open)
  }

  @Test("two loops, three failures each, are six in a row")
  func loopsAddUp() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(plain())
    var batch = Breaker.Outcomes()
    for _ in 0..<3 { batch.add(.failure) }
    #expect(!breaker.view.trips(adding: batch, by: breaker.thresholds))
    #expect(breaker.absorb(batch, epoch: 0, now: .zero, using: &random) == Breaker.Change.none)
    #expect(breaker.view.trips(adding: batch, by: breaker.thresholds))
    #expect(breaker.absorb(batch, epoch: 0, now: .zero, using: &random) != Breaker.Change.none)
  }

  @Test("a batch in a window of calls keeps the newest, the row of failures last")
  func batchInCalls() {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(
      plain {
        $0.window = .calls(10)
        $0.ofAtLeast = 10
        $0.inARow = 0
        $0.failures = 0.6
      })
    var batch = Breaker.Outcomes()
    for _ in 0..<500 { batch.add(.failure) }
    for _ in 0..<6 { batch.add(.success) }
    for _ in 0..<4 { batch.add(.failure) }
    #expect(breaker.absorb(batch, epoch: 0, now: .zero, using: &random) == Breaker.Change.none)
    #expect(breaker.totals.calls == 10 && breaker.totals.failures == 4)
    #expect(breaker.violation() == nil)
  }

  @Test("a batch as long as a window of calls, or longer, leaves nothing of before", arguments: [3, 4, 5, 1000])
  func batchFillsWindow(failures: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = Breaker(
      plain {
        $0.window = .calls(4)
        $0.inARow = 0
        $0.failures = 2
      })
    for _ in 0..<4 { _ = breaker.call(.success, now: .zero, using: &random) }
    var batch = Breaker.Outcomes()
    for _ in 0..<failures { batch.add(.failure) }
    #expect(breaker.absorb(batch, epoch: 0, now: .zero, using: &random) == Breaker.Change.none)
    #expect(breaker.totals.calls == 4 && breaker.totals.failures == UInt32(min(4, failures)))
    #expect(breaker.violation() == nil)
  }

  // MARK: Walks

  /// Everything at random, time included, for windows of both kinds; after each step the state is sound, and from where
  /// the walk ends a well dependency is served again.
  @Test("walks: never unsound, never refusing for ever")
  func walks() {
    for seed in resilienceSeeds(600) {
      var walk = Walk(seed: seed)
      for step in 0..<400 {
        walk.step()
        if let wrong = walk.breaker.violation() {
          Issue.record("seed \(seed), step \(step): \(wrong)")
          break
        }
        if walk.breaker.probesOut(now: walk.now) > walk.probes {
          Issue.record("seed \(seed), step \(step): too many probes")
          break
        }
      }
      if let wrong = walk.recover() { Issue.record("seed \(seed): \(wrong)") }
    }
  }
}

/// A breaker with random settings under random inputs.
private struct Walk {
  var random: SeededRandom
  var breaker: Breaker
  var now = Instant.zero
  var probes: Int
  private var tickets: [Breaker.Ticket] = []
  private var bound: Int64

  init(seed: UInt64) {
    random = SeededRandom(seed: seed)
    var settings = Breaker.Settings()
    switch random.index(below: 5) {
    case 0, 1: settings.window = .calls(1 + random.index(below: 30))
    case 2: settings.window = .ewma(halfLife: .milliseconds(1 + random.index(below: 20_000)))
    default: break
    }
    settings.failures = random.unit()
    settings.ofAtLeast = random.index(below: 25)
    settings.inARow = random.index(below: 7)
    settings.slowShare = random.unit()
    settings.slow = random.chance(0.5) ? .seconds(1) : nil
    settings.rest = .milliseconds(random.index(below: 40_000))
    settings.restGrowth = 1 + random.unit()
    settings.restMax = .seconds(60)
    settings.restJitter = random.chance(0.5) ? random.unit() : 0
    settings.probes = 1 + random.index(below: 4)
    settings.probesToClose = 1 + random.index(below: 4)
    settings.probeLease = .milliseconds(random.index(below: 20_000))
    settings.ramp = random.chance(0.5) ? .milliseconds(random.index(below: 20_000)) : .zero
    settings.rampFrom = random.unit()
    breaker = Breaker(settings)
    probes = settings.probes
    // The longest rest with jitter, then probes one after the other within their leases, then the ramp.
    bound = 120_000_000_000 + 4 * 20_000_000_000 + 20_000_000_000
  }

  mutating func step() {
    switch random.index(below: 10) {
    case 0...2:
      if case .allow(let ticket) = breaker.admit(now: now, using: &random) { tickets.append(ticket) }
    case 3...5:
      guard !tickets.isEmpty else { return }
      let ticket = tickets.remove(at: random.index(below: tickets.count))
      let outcome = Breaker.Outcome(rawValue: UInt8(random.index(below: 4))) ?? .ignored
      _ = breaker.settle(ticket, outcome, now: now, using: &random)
      // Now and then a result is told twice, as a confused driver might.
      if random.chance(0.05) { _ = breaker.settle(ticket, outcome, now: now, using: &random) }
    case 6:
      now = now.advanced(by: random.nanoseconds(upTo: random.chance(0.2) ? 40_000_000_000 : 500_000_000))
    case 7:
      var batch = Breaker.Outcomes()
      for _ in 0..<random.index(below: 12) {
        batch.add(Breaker.Outcome(rawValue: UInt8(random.index(below: 4))) ?? .ignored)
      }
      let epoch = random.chance(0.8) ? breaker.epoch : breaker.epoch &- UInt32(random.index(below: 3))
      _ = breaker.absorb(batch, epoch: epoch, now: now, using: &random)
    case 8:
      if let ticket = breaker.acquireProbe(now: now) { tickets.append(ticket) }
    default:
      breaker.wake(now: now)
      if let wake = breaker.nextWake, random.chance(0.2) { now = max(now, wake) }
    }
  }

  /// The dependency is well from now on, and whoever was out never comes back.
  mutating func recover() -> String? {
    let start = now
    while now.since(start) <= bound {
      switch breaker.admit(now: now, using: &random) {
      case .allow(let ticket): _ = breaker.settle(ticket, .success, now: now, using: &random)
      case .refuse(let until):
        guard until > now else { return "refused until \(until), which is now" }
      }
      if breaker.phase == .closed && now >= breaker.view.until { break }
      now = now.advanced(by: 100_000_000)
    }
    guard breaker.phase == .closed, case .allow = breaker.admit(now: now, using: &random) else {
      return "still \(breaker.phase) after \(now.since(start)) ns of health"
    }
    return nil
  }
}
