// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

@Suite struct BalancerTests {
  private let second: Int64 = 1_000_000_000
  private let milli: Int64 = 1_000_000

  private func settings(_ algorithm: Balancer.Algorithm, choices: Int = 2) -> Balancer.Settings {
    var settings = Balancer.Settings()
    settings.algorithm = algorithm
    settings.choices = choices
    return settings
  }

  private func all(_ count: Int) -> [UInt16] { (0..<count).map { UInt16($0) } }

  private func tried(_ indexes: Int...) -> Balancer.Tried {
    var tried = Balancer.Tried()
    for index in indexes { tried.insert(index) }
    return tried
  }

  // MARK: Tried

  @Test("the last four are remembered, each once")
  func lastFour() {
    var tried = tried(0, 1, 2, 2, 2, 3)
    #expect([0, 1, 2, 3].allSatisfy(tried.contains))
    tried.insert(65_534)
    #expect(!tried.contains(0))
    #expect([1, 2, 3, 65_534].allSatisfy(tried.contains))
    #expect(Balancer.Tried().isEmpty && !Balancer.Tried().contains(0) && !tried.isEmpty)
  }

  // MARK: What every algorithm keeps

  @Test("nothing serves: none; all at the limit: full", arguments: Balancer.Algorithm.allCases)
  func noneAndFull(algorithm: Balancer.Algorithm) {
    var random = SeededRandom(seed: 1)
    for count in [1, 2, 3, 20] {
      var balancer = Balancer(settings(algorithm), instances: count)
      #expect(balancer.pick(among: [], excluding: .init(), limit: 1, now: .zero, using: &random) == .none)
      for index in 0..<count { balancer.started(index, now: .zero) }
      #expect(balancer.pick(among: all(count), excluding: .init(), limit: 1, now: .zero, using: &random) == .full)
      balancer.released(count - 1)
      #expect(
        balancer.pick(among: all(count), excluding: .init(), limit: 1, now: .zero, using: &random)
          == .instance(count - 1))
    }
  }

  @Test("a tried one is avoided while another serves, then allowed again", arguments: Balancer.Algorithm.allCases)
  func triedAvoided(algorithm: Balancer.Algorithm) {
    var random = SeededRandom(seed: 2)
    var balancer = Balancer(settings(algorithm), instances: 2)
    for _ in 0..<50 {
      #expect(balancer.pick(among: [0, 1], excluding: tried(0), limit: 9, now: .zero, using: &random) == .instance(1))
    }
    guard case .instance = balancer.pick(among: [0, 1], excluding: tried(0, 1), limit: 9, now: .zero, using: &random)
    else { return PatternSeeds.fail("both were tried, so both are allowed again") }
    #expect(balancer.pick(among: [0], excluding: tried(0), limit: 9, now: .zero, using: &random) == .instance(0))
    // The other one is full: the call waits for it rather than going back to where it just failed.
    balancer.markFull(1)
    #expect(balancer.pick(among: [0, 1], excluding: tried(0), limit: 9, now: .zero, using: &random) == .full)
  }

  @Test("the mark full ends by clearFull, or when a request of ours comes back", arguments: [0, 1, 2])
  func marks(how: Int) {
    var random = SeededRandom(seed: 3)
    var balancer = Balancer(settings(.peakEWMA), instances: 1)
    balancer.started(0, now: .zero)
    balancer.markFull(0)
    #expect(balancer.pick(among: [0], excluding: .init(), limit: 9, now: .zero, using: &random) == .full)
    switch how {
    case 0: balancer.clearFull(0)
    case 1: balancer.released(0)
    default: balancer.finished(0, latency: milli, failed: false, now: .zero)
    }
    #expect(balancer.pick(among: [0], excluding: .init(), limit: 9, now: .zero, using: &random) == .instance(0))
  }

  /// 300 seeds × 600 steps against a model that knows only counts and marks.
  @Test("walk", arguments: PatternSeeds.seeds(300))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let algorithm = Balancer.Algorithm.allCases[random.index(below: 3)]
    let count = 1 + random.index(below: 12)
    let weights = random.chance(0.5) ? (0..<count).map { _ in 1 + random.index(below: 5) } : nil
    var balancer = Balancer(
      settings(algorithm, choices: 1 + random.index(below: 4)), instances: count, weights: weights)
    var out = [Int32](repeating: 0, count: count)
    var full = [Bool](repeating: false, count: count)
    var now = Instant.zero
    for step in 0..<600 {
      now = now.advanced(by: random.nanoseconds(upTo: second))
      let index = random.index(below: count)
      switch random.index(below: 8) {
      case 0 where out[index] > 0:
        balancer.released(index)
        out[index] -= 1
        full[index] = false
      case 1, 2:
        if out[index] == 0 { continue }
        balancer.finished(
          index, latency: random.nanoseconds(upTo: second), failed: random.chance(0.3), now: now)
        out[index] -= 1
        full[index] = false
      case 3 where random.chance(0.3):
        balancer.markFull(index)
        full[index] = true
      case 4 where random.chance(0.2):
        balancer.joined(index, now: now)
        full[index] = false
      case 5:
        balancer.clearFull(index)
        full[index] = false
      default:
        let serving = (0..<count).filter { _ in random.chance(0.8) }
        var tried = Balancer.Tried()
        for _ in 0..<random.index(below: 5) { tried.insert(random.index(below: count)) }
        let limit = Int32(1 + random.index(below: 4))
        let allTried = serving.allSatisfy(tried.contains)
        let open = serving.filter { out[$0] < limit && !full[$0] && (allTried || !tried.contains($0)) }
        let choice = balancer.pick(
          among: serving.map { UInt16($0) }, excluding: tried, limit: limit, now: now, using: &random)
        switch choice {
        case .none: if !serving.isEmpty { return fail(seed, step, "none of \(serving)") }
        case .full: if !open.isEmpty || serving.isEmpty { return fail(seed, step, "full, but \(open) are open") }
        case .instance(let picked):
          if !open.contains(picked) { return fail(seed, step, "\(picked) is not one of \(open)") }
          balancer.started(picked, now: now)
          out[picked] += 1
        }
      }
      for index in 0..<count where balancer.inFlight(index) != out[index] {
        return fail(seed, step, "\(balancer.inFlight(index)) in flight, not \(out[index])")
      }
      if let violation = balancer.violation() { return fail(seed, step, violation) }
    }
  }

  private func fail(_ seed: UInt64, _ step: Int, _ what: String) {
    PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(what)")
  }

  @Test("the same seed and inputs give the same picks")
  func deterministic() {
    func run() -> [Balancer.Choice] {
      var random = SeededRandom(seed: 8)
      var balancer = Balancer(settings(.peakEWMA), instances: 7)
      return (0..<500).map { step in
        let now = Instant(nanoseconds: Int64(step) * milli)
        let choice = balancer.pick(among: all(7), excluding: .init(), limit: 4, now: now, using: &random)
        if case .instance(let index) = choice {
          balancer.started(index, now: now)
          if step % 3 > 0 { balancer.finished(index, latency: Int64(index + 1) * milli, failed: false, now: now) }
        }
        return choice
      }
    }
    #expect(run() == run())
  }

  // MARK: Round robin

  // nginx's own example (commit 52327e0627f4, Dounin 2012).
  @Test("weights 5, 1, 1 give a a b a c a a, again and again")
  func smooth() {
    var random = SeededRandom(seed: 4)
    var balancer = Balancer(settings(.roundRobin), instances: 3, weights: [5, 1, 1])
    for _ in 0..<3 {
      let picks = (0..<7).map { _ in
        balancer.pick(among: [0, 1, 2], excluding: .init(), limit: 9, now: .zero, using: &random)
      }
      #expect(picks == [0, 0, 1, 0, 2, 0, 0].map { .instance($0) })
    }
  }

  @Test("equal weights rotate; full and tried ones are passed over")
  func rotation() {
    var random = SeededRandom(seed: 5)
    var balancer = Balancer(settings(.roundRobin), instances: 4)
    func next(_ tried: Balancer.Tried = .init()) -> Balancer.Choice {
      balancer.pick(among: [0, 1, 2, 3], excluding: tried, limit: 9, now: .zero, using: &random)
    }
    #expect((0..<5).map { _ in next() } == [0, 1, 2, 3, 0].map { .instance($0) })
    balancer.markFull(1)
    #expect((0..<4).map { _ in next() } == [2, 3, 0, 2].map { .instance($0) })
    #expect(next(tried(3)) == .instance(0))
  }

  @Test("weights hold exactly over a round while one is out of rotation")
  func weightsHold() {
    var random = SeededRandom(seed: 6)
    var balancer = Balancer(settings(.roundRobin), instances: 4, weights: [4, 3, 2, 1])
    var counts = [0, 0, 0, 0]
    for _ in 0..<70 {
      if case .instance(let index) = balancer.pick(
        among: [0, 1, 3], excluding: .init(), limit: 9, now: .zero, using: &random)
      {
        counts[index] += 1
      }
    }
    // 8 a round: 70 picks are 8 rounds and 6 more.
    #expect(abs(counts[0] - 35) <= 1 && abs(counts[1] - 26) <= 1 && counts[2] == 0 && abs(counts[3] - 9) <= 1)
  }

  // MARK: Least request

  @Test("of two the one with fewer in flight for its weight", arguments: [(3, 1, 1), (3, 4, 0)])
  func leastRequest(outAtFirst: Int, weightOfFirst: Int, expected: Int) {
    var random = SeededRandom(seed: 7)
    var balancer = Balancer(settings(.leastRequest), instances: 2, weights: [weightOfFirst, 1])
    for _ in 0..<outAtFirst { balancer.started(0, now: .zero) }
    balancer.started(1, now: .zero)
    for _ in 0..<20 {
      #expect(
        balancer.pick(among: [0, 1], excluding: .init(), limit: 9, now: .zero, using: &random) == .instance(expected))
    }
  }

  // Most are full: redraws run out and the scan takes over, which must be as uniform.
  @Test("uniform over the open ones, whatever is skipped", arguments: [1, 3, 10, 60, 100])
  func uniform(open: Int) {
    var random = SeededRandom(seed: 9)
    var balancer = Balancer(settings(.leastRequest), instances: 100)
    for index in open..<100 { balancer.markFull(index) }
    var counts = [Int](repeating: 0, count: 100)
    let picks = PatternSeeds.samples(200_000)
    for _ in 0..<picks {
      if case .instance(let index) = balancer.pick(
        among: all(100), excluding: .init(), limit: 9, now: .zero, using: &random)
      {
        counts[index] += 1
      }
    }
    let p = 1 / Double(open)
    let error = (Double(picks) * p * (1 - p)).squareRoot()
    for index in 0..<100 {
      let expected = index < open ? Double(picks) * p : 0
      // 4.5 standard errors: of 174 comparisons one beyond 4 is not rare enough.
      #expect(abs(Double(counts[index]) - expected) <= 4.5 * error, "instance \(index) of \(open)")
    }
  }

  // With 98 of 100 full the scan chooses, and it must compare two different ones.
  @Test("of two open ones among many the less loaded, every time")
  func scanIsDistinct() {
    var random = SeededRandom(seed: 14)
    var balancer = Balancer(settings(.leastRequest), instances: 100)
    for index in 2..<100 { balancer.markFull(index) }
    balancer.started(0, now: .zero)
    for _ in 0..<200 {
      let choice = balancer.pick(among: all(100), excluding: .init(), limit: 9, now: .zero, using: &random)
      #expect(choice == .instance(1))
    }
  }

  // GROUND_TRUTH GT-P2C, the columns simulated with n = 100 and distinct choices. The supermarket model as a chain in
  // discrete steps: with probability λ/(1+λ) one arrives, else one server of the hundred may finish one
  // (uniformisation). With replacement d = 2 would be 1.2711, 1.6264, 1.9677, 2.6580, which the error excludes but at
  // the last.
  @Test(
    "mean time in the supermarket model, n = 100, distinct choices",
    arguments: [
      (0.5, [2.0000, 1.2671, 1.1276]), (0.7, [3.3333, 1.6200, 1.3634]), (0.8, [5.0000, 1.9588, 1.5938]),
      (0.9, [10.000, 2.6444, 2.0630]),
    ])
  func supermarket(load: Double, truths: [Double]) {
    for (choices, truth) in zip(1...3, truths) {
      // One choice at 90 % load forgets its start in 70 000 steps: a debug build's sample is too short for it.
      if choices == 1, PatternSeeds.isDebug { continue }
      let steps = PatternSeeds.samples(choices == 2 ? 16_000_000 : 6_000_000)
      let warmUp = steps / 10
      var random = SeededRandom(seed: UInt64(choices), stream: "supermarket at \(load)")
      var balancer = Balancer(settings(.leastRequest, choices: choices), instances: 100)
      let serving = all(100)
      var means = BatchMeans(of: steps - warmUp)
      var inSystem = 0
      for step in 0..<steps {
        if random.chance(load / (1 + load)) {
          if case .instance(let index) = balancer.pick(
            among: serving, excluding: .init(), limit: .max, now: .zero, using: &random)
          {
            balancer.started(index, now: .zero)
            inSystem += 1
          }
        } else {
          let index = random.index(below: 100)
          if balancer.inFlight(index) > 0 {
            balancer.released(index)
            inSystem -= 1
          }
        }
        // Little's law: mean time = mean number ÷ arrival rate.
        if step >= warmUp { means.add(Double(inSystem) / (load * 100)) }
      }
      // The truth is rounded to four digits and itself simulated with 4·10⁸ steps.
      let error = 4 * means.standardError + 0.0006
      #expect(
        abs(means.mean - truth) <= error, "λ=\(load) d=\(choices): \(means.mean) ± \(means.standardError), not \(truth)"
      )
    }
  }

  // GROUND_TRUTH GT-BINS, n = 256, shares of the greatest load in 300 … 1000 trials. n = 65 536 does not fit: an index
  // has 16 bits and one value is "none".
  @Test(
    "n balls into n bins: the greatest load",
    arguments: [(1, [4: 0.36, 5: 0.51, 6: 0.11]), (2, [2: 0.07, 3: 0.92]), (3, [2: 0.89, 3: 0.11])])
  func bins(choices: Int, truth: [Int: Double]) {
    let trials = PatternSeeds.samples(4_000)
    let serving = all(256)
    var counts: [Int: Int] = [:]
    for trial in 0..<trials {
      var random = SeededRandom(seed: UInt64(trial), stream: "bins")
      var balancer = Balancer(settings(.leastRequest, choices: choices), instances: 256)
      var greatest: Int32 = 0
      for _ in 0..<256 {
        if case .instance(let index) = balancer.pick(
          among: serving, excluding: .init(), limit: .max, now: .zero, using: &random)
        {
          balancer.started(index, now: .zero)
          greatest = max(greatest, balancer.inFlight(index))
        }
      }
      counts[Int(greatest), default: 0] += 1
    }
    for load in truth.keys.sorted() {
      let share = truth[load] ?? 0
      let seen = Double(counts[load] ?? 0) / Double(trials)
      // Both sides are samples; the truth's is of 300 trials at least, and rounded to a percent.
      let error = (share * (1 - share) * (1 / 300 + 1 / Double(trials))).squareRoot()
      #expect(abs(seen - share) <= 4 * error + 0.005, "d=\(choices), load \(load): \(seen), not \(share)")
    }
  }

  // MARK: Peak EWMA

  @Test("a peak counts at once, and half a life later half of it is forgotten")
  func peak() {
    var balancer = Balancer(settings(.peakEWMA), instances: 1)
    func finish(_ latency: Int64, _ at: Int64) {
      balancer.started(0, now: Instant(nanoseconds: at))
      balancer.finished(0, latency: latency, failed: false, now: Instant(nanoseconds: at))
    }
    #expect(balancer.latency(0, now: .zero) == nil)
    finish(10 * milli, 0)
    #expect(balancer.latency(0, now: .zero) == 10 * milli)
    finish(100 * milli, second)
    #expect(balancer.latency(0, now: Instant(nanoseconds: second)) == 100 * milli)
    // 7 s later an answer of 10 ms: half of 100 and half of 10.
    finish(10 * milli, 8 * second)
    let after = Double(balancer.latency(0, now: Instant(nanoseconds: 8 * second)) ?? 0) / Double(milli)
    #expect(abs(after - 55) < 0.1)
    // Unused it fades: a quarter after two half-lives.
    let faded = Double(balancer.latency(0, now: Instant(nanoseconds: 22 * second)) ?? 0) / Double(milli)
    #expect(abs(faded - 13.75) < 0.1)
  }

  @Test("failures in a row count 5, 25, 125 … times a typical answer, at most the penalty; one success ends the row")
  func penalty() {
    var balancer = Balancer(settings(.peakEWMA), instances: 2)
    func settle(_ index: Int, failed: Bool) -> Int64 {
      balancer.started(index, now: .zero)
      balancer.finished(index, latency: failed ? 1 : 10 * milli, failed: failed, now: .zero)
      return (balancer.latency(index, now: .zero) ?? 0) / milli
    }
    #expect(settle(0, failed: false) == 10)
    #expect((0..<5).map { _ in settle(1, failed: true) } == [50, 250, 1250, 5000, 5000])
    _ = settle(1, failed: false)
    // One that answers again is taken at its word, and the row begins anew.
    #expect(balancer.latency(1, now: .zero) == 10 * milli)
    #expect(settle(1, failed: true) == 50)
  }

  @Test("before anything ever answered a failure counts as the whole penalty")
  func penaltyAtStart() {
    var balancer = Balancer(settings(.peakEWMA), instances: 1)
    balancer.started(0, now: .zero)
    balancer.finished(0, latency: 1, failed: true, now: .zero)
    #expect(balancer.latency(0, now: .zero) == 5 * second)
  }

  @Test("an instance without an answer is taken to be like the others; before any answer the rule is least request")
  func unknown() {
    var random = SeededRandom(seed: 10)
    var balancer = Balancer(settings(.peakEWMA), instances: 2)
    balancer.started(0, now: .zero)
    #expect(balancer.pick(among: [0, 1], excluding: .init(), limit: 9, now: .zero, using: &random) == .instance(1))
    balancer.finished(0, latency: 10 * milli, failed: false, now: .zero)
    // 1 is out twice, at 10 ms assumed that costs 30 ms; 0 costs 20 ms with one out.
    balancer.started(0, now: .zero)
    balancer.started(1, now: .zero)
    balancer.started(1, now: .zero)
    #expect(balancer.pick(among: [0, 1], excluding: .init(), limit: 9, now: .zero, using: &random) == .instance(0))
  }

  /// Requests of a Poisson stream on instances that answer after a fixed time or fail after another; shares of
  /// attempts.
  private func play(
    _ algorithm: Balancer.Algorithm = .peakEWMA, perSecond: Double, seconds: Int, latency: [Int64],
    fails: (Int, Int64) -> Bool, from: Int64 = 0, seed: UInt64 = 1
  ) -> [Double] {
    var random = SeededRandom(seed: seed)
    var balancer = Balancer(settings(algorithm), instances: latency.count)
    var out: [(at: Int64, index: Int, failed: Bool, latency: Int64)] = []
    var counts = [Int](repeating: 0, count: latency.count)
    var now = 0.0
    let serving = all(latency.count)
    while now < Double(seconds) * 1e9 {
      now -= log(1 - random.unit()) / perSecond * 1e9
      let nanoseconds = Int64(now)
      out.sort { $0.at < $1.at }
      while let first = out.first, first.at <= nanoseconds {
        balancer.finished(
          first.index, latency: first.latency, failed: first.failed, now: Instant(nanoseconds: first.at))
        out.removeFirst()
      }
      let instant = Instant(nanoseconds: nanoseconds)
      guard
        case .instance(let index) = balancer.pick(
          among: serving, excluding: .init(), limit: .max, now: instant, using: &random)
      else { continue }
      balancer.started(index, now: instant)
      let failed = fails(index, nanoseconds)
      let takes = failed ? milli : latency[index]
      out.append((nanoseconds + takes, index, failed, takes))
      if nanoseconds >= from { counts[index] += 1 }
    }
    let sum = Double(counts.reduce(0, +))
    return counts.map { Double($0) / sum }
  }

  // Bar RP-2 at the level of the value: no breaker, no retry, two instances, one answers 500 within a millisecond while
  // the good one takes ten. Without the penalty the fast failure would attract nearly everything.
  @Test("an instance that fails fast gets next to nothing from the second second on", arguments: [20.0, 200, 2_000])
  func failingFast(perSecond: Double) {
    let shares = play(
      perSecond: perSecond, seconds: 60, latency: [10 * milli, 10 * milli], fails: { index, _ in index == 1 },
      from: 2 * second)
    #expect(shares[1] < 0.005, "\(shares)")
    let blind = play(
      .leastRequest, perSecond: 2_000, seconds: 5, latency: [10 * milli, 10 * milli], fails: { index, _ in index == 1 })
    #expect(blind[1] > 0.5, "least request is blind to it, as its page says: \(blind)")
  }

  @Test("a single stray failure costs an instance its load for seconds, not for a minute")
  func strayFailure() {
    var failed = false
    let shares = play(
      perSecond: 300, seconds: 40, latency: [10 * milli, 10 * milli, 10 * milli],
      fails: { index, at in
        if index == 1, at >= 5 * second, !failed {
          failed = true
          return true
        }
        return false
      }, from: 22 * second)
    #expect(shares[1] > 0.2, "\(shares)")
  }

  @Test("an instance ten times as slow gets a small share")
  func slow() {
    let shares = play(
      perSecond: 500, seconds: 60, latency: [10 * milli, 10 * milli, 100 * milli], fails: { _, _ in false },
      from: 5 * second)
    #expect(shares[2] < 0.08 && abs(shares[0] - shares[1]) < 0.05, "\(shares)")
  }

  // MARK: Slow start

  @Test(
    "the share of a newcomer is the ramp: from a tenth, linear, to all after 30 s",
    arguments: [0, 1, 3, 10, 15, 25, 30])
  func ramp(seconds: Int64) {
    let now = Instant(nanoseconds: seconds * second)
    let expected = seconds >= 30 ? 1 : max(0.1, Double(seconds) / 30)
    for algorithm in [Balancer.Algorithm.leastRequest, .roundRobin] {
      var random = SeededRandom(seed: UInt64(seconds))
      var balancer = Balancer(settings(algorithm), instances: 10)
      balancer.joined(4, now: .zero)
      #expect(abs(balancer.slowStartShare(4, now: now) - expected) < 1e-9)
      #expect(balancer.slowStartShare(3, now: now) == 1)
      var picked = 0
      let picks = PatternSeeds.samples(100_000)
      for _ in 0..<picks {
        let choice = balancer.pick(among: all(10), excluding: .init(), limit: 9, now: now, using: &random)
        if choice == .instance(4) { picked += 1 }
      }
      let share = Double(picked) / Double(picks)
      // Two of ten are drawn, the newcomer is in a pair with 1/5, seen with the ramp, and wins a tie by half: ramp ÷
      // 10. Round robin: weight w of 9 + w.
      let truth = algorithm == .roundRobin ? expected / (9 + expected) : expected / 10
      let error = (truth * (1 - truth) / Double(picks)).squareRoot()
      #expect(abs(share - truth) <= 4 * error + 0.0001, "\(algorithm) at \(seconds) s: \(share), not \(truth)")
    }
  }

  @Test("on an idle system with two instances a newcomer gets its ramp too, not nothing")
  func rampOfTwo() {
    var random = SeededRandom(seed: 12)
    var balancer = Balancer(settings(.peakEWMA), instances: 2)
    for index in 0..<2 {
      balancer.started(index, now: .zero)
      balancer.finished(index, latency: 5 * milli, failed: false, now: .zero)
    }
    balancer.joined(1, now: .zero)
    var counts = [0, 0]
    // The whole ramp, one request every 10 ms, each answered before the next.
    for step in 0..<3_000 {
      let now = Instant(nanoseconds: Int64(step) * 10 * milli)
      if case .instance(let index) = balancer.pick(
        among: [0, 1], excluding: .init(), limit: 9, now: now, using: &random)
      {
        balancer.started(index, now: now)
        balancer.finished(index, latency: 5 * milli, failed: false, now: now.advanced(by: 5 * milli))
        counts[index] += 1
      }
    }
    // The mean of the ramp is just over a half of the fair share; idle, the one used least recently looks cheapest,
    // which doubles it at most.
    let share = Double(counts[1]) / 3_000
    #expect(share > 0.2 && share < 0.52, "\(share)")
  }

  /// A newcomer that is passed over must not hand its requests, uncompared, to an instance in trouble: with three
  /// instances, one of them starting, the bad one got a fifth of all requests for half a minute.
  @Test("an instance in trouble gets next to nothing beside a newcomer")
  func troubleBesideANewcomer() {
    var random = SeededRandom(seed: 3)
    var balancer = Balancer(settings(.peakEWMA), instances: 3)
    for index in 0..<3 {
      balancer.started(index, now: .zero)
      balancer.finished(index, latency: 5 * milli, failed: false, now: .zero)
    }
    balancer.joined(0, now: .zero)
    var bad = 0
    for step in 0..<2_000 {
      let now = Instant(nanoseconds: Int64(step) * 5 * milli)
      guard
        case .instance(let index) = balancer.pick(
          among: [0, 1, 2], excluding: .init(), limit: 9, now: now, using: &random)
      else { continue }
      balancer.started(index, now: now)
      balancer.finished(index, latency: index == 2 ? milli : 5 * milli, failed: index == 2, now: now)
      if index == 2 { bad += 1 }
    }
    #expect(bad <= 10, "\(bad) of 2 000")
  }

  @Test("when only newcomers serve they get everything")
  func onlyNewcomers() {
    var random = SeededRandom(seed: 13)
    var balancer = Balancer(settings(.peakEWMA), instances: 3)
    for index in 0..<3 { balancer.joined(index, now: .zero) }
    for _ in 0..<100 {
      guard case .instance = balancer.pick(among: all(3), excluding: .init(), limit: 9, now: .zero, using: &random)
      else { return PatternSeeds.fail("refused for being new") }
    }
  }
}
