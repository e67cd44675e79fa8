// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// Every state that a small breaker can reach, by every input, with up to three calls out (RP-3, RL-2).
///
/// Time runs in ticks of a second: the rest takes 2 (then 3, then 4 at most), a lease 2, the ramp 2. After each input the
/// breaker is rebased to one instant and one epoch, which makes its states finite; the search ends when it finds no new
/// one, so nothing is left to chance but the ramp's draw, of which both ends are tried.
struct CircuitBreakerExplorationTests {
  /// What a call that is out may be.
  private enum Out: Hashable {
    case ordinary
    case probe(UInt32)
    /// Of this phase, but replaced since.
    case replaced
    /// Of an earlier phase.
    case past(probe: Bool)

    var ticket: CircuitBreaker.Ticket {
      switch self {
      case .ordinary: CircuitBreaker.Ticket(epoch: 1)
      case .probe(let number): CircuitBreaker.Ticket(epoch: 1, probe: number)
      // The number of no probe that is out: fresh ones count on from 16.
      case .replaced: CircuitBreaker.Ticket(epoch: 1, probe: 9999)
      case .past(let probe): CircuitBreaker.Ticket(epoch: 0, probe: probe ? 1 : 0)
      }
    }

    var rank: UInt32 {
      switch self {
      case .ordinary: 100
      case .probe(let number): number
      case .replaced: 101
      case .past(let probe): probe ? 103 : 102
      }
    }
  }

  private struct State: Equatable {
    var breaker: CircuitBreaker
    /// Sorted; each kind of what can change nothing is kept once.
    var out: [Out]

    struct Key: Hashable {
      var phase: CircuitBreaker.Phase
      var until: Instant
      var calls: UInt32
      var failures: UInt32
      var row: UInt32
      var probes: Int
      var out: [Out]
    }

    var key: Key {
      let view = breaker.view
      return Key(
        phase: view.phase, until: view.until, calls: view.window.calls, failures: view.window.failures,
        row: view.window.failuresInARow, probes: breaker.probesOut(now: base), out: out)
    }
  }

  private static let base = Instant(nanoseconds: 1_000_000_000_000)
  private static let tick: Int64 = 1_000_000_000
  private static let statesMax = 100_000

  @Test("the whole state space, and from all of it the way back", arguments: [1, 2], [1, 2])
  func everything(probes: Int, probesToClose: Int) {
    var settings = CircuitBreaker.Settings()
    settings.window = .calls(3)
    settings.ofAtLeast = 3
    settings.failures = 0.67
    settings.inARow = 2
    settings.slow = .seconds(1)
    settings.slowShare = 1
    settings.rest = .seconds(2)
    settings.restGrowth = 1.5
    settings.restMax = .seconds(4)
    settings.restJitter = 0
    settings.probes = probes
    settings.probesToClose = probesToClose
    settings.probeLease = .seconds(2)
    settings.ramp = .seconds(2)
    settings.rampFrom = 0.5
    var low = SeededRandom(seed: 0)
    var high = low
    // A source whose next draw is near 0, and one whose next is near 1.
    while true {
      var peek = low
      if peek.unit() < 0.01 { break }
      _ = low.next()
    }
    while true {
      var peek = high
      if peek.unit() > 0.99 { break }
      _ = high.next()
    }

    var seen: [State.Key: [State]] = [:]
    var queue: [State] = []
    var edges = 0
    var phases: Set<CircuitBreaker.Phase> = []
    let base = Self.base

    func visit(_ breaker: CircuitBreaker, _ out: [Out], now: Instant, epoch: UInt32, trace: @autoclosure () -> String) {
      edges += 1
      if let wrong = breaker.violation() {
        Issue.record("\(wrong) after \(trace())")
        return
      }
      if breaker.probesOut(now: now) > probes { Issue.record("too many probes out after \(trace())") }
      let (rebased, places) = breaker.rebasedForTesting(now: now, to: base)
      var kept: [Out] = []
      for one in out {
        var next = one
        let ticket = one.ticket
        if ticket.epoch != 1 || epoch != breaker.epoch {
          next = .past(probe: ticket.isProbe)
        } else if ticket.isProbe {
          if let place = places.firstIndex(of: ticket.probe) {
            next = .probe(UInt32(place + 1))
          } else {
            next = .replaced
          }
        }
        switch next {
        case .past, .replaced: if !kept.contains(next) { kept.append(next) }
        default: kept.append(next)
        }
      }
      kept.sort { $0.rank < $1.rank }
      let state = State(breaker: rebased, out: kept)
      let key = state.key
      if seen[key, default: []].contains(state) { return }
      seen[key, default: []].append(state)
      queue.append(state)
      phases.insert(breaker.phase)
    }

    let fresh = CircuitBreaker(settings).rebasedForTesting(now: .zero, to: base).breaker
    visit(fresh, [], now: base, epoch: 1, trace: "the beginning")

    var visited = 0
    while let state = queue.popLast() {
      visited += 1
      // Ten times what there is. A breaker that is broken so that its states have no end must fail here, not fill the
      // memory of the machine; one did.
      guard visited <= Self.statesMax else {
        Issue.record("more than \(Self.statesMax) states: something in the breaker grows without bound")
        return
      }
      let epoch = state.breaker.epoch
      // Time passes; whoever is out hangs.
      visit(
        state.breaker, state.out, now: base.advanced(by: Self.tick), epoch: epoch, trace: "a tick from \(state)")
      var woken = state.breaker
      woken.wake(now: base)
      visit(woken, state.out, now: base, epoch: epoch, trace: "wake from \(state)")
      if state.out.count < 3 {
        for source in [low, high] {
          var random = source
          var breaker = state.breaker
          guard case .allow(let ticket) = breaker.admit(now: base, using: &random) else { continue }
          addAdmitted(ticket, breaker, state, "admit")
        }
        var breaker = state.breaker
        if let ticket = breaker.acquireProbe(now: base) { addAdmitted(ticket, breaker, state, "acquireProbe") }
      }
      for (index, one) in state.out.enumerated() {
        for outcome in CircuitBreaker.Outcome.allCases {
          var random = low
          var breaker = state.breaker
          let change = breaker.settle(one.ticket, outcome, now: base, using: &random)
          switch one {
          case .past, .replaced:
            if change != .none || breaker != state.breaker { Issue.record("the past changed \(state)") }
          default: break
          }
          var left = state.out
          left.remove(at: index)
          visit(breaker, left, now: base, epoch: epoch, trace: "\(one) settled \(outcome) in \(state)")
        }
      }
      for outcomes in [[CircuitBreaker.Outcome.success], [.failure], [.failure, .failure], [.slow, .failure]] {
        var batch = CircuitBreaker.Outcomes()
        for outcome in outcomes { batch.add(outcome) }
        var random = low
        var breaker = state.breaker
        if breaker.absorb(batch, epoch: 0, now: base, using: &random) != .none || breaker != state.breaker {
          Issue.record("a stale batch changed \(state)")
        }
        _ = breaker.absorb(batch, epoch: 1, now: base, using: &random)
        visit(breaker, state.out, now: base, epoch: epoch, trace: "absorb in \(state)")
      }
      if let wrong = wayBack(from: state.breaker, using: high) { Issue.record("\(wrong) from \(state)") }
      if let wrong = wayBack(from: state.breaker, using: low) { Issue.record("\(wrong) from \(state)") }
    }

    /// A ticket given in a state: told as what it is after the breaker's own change of phase, if there was one.
    func addAdmitted(_ ticket: CircuitBreaker.Ticket, _ breaker: CircuitBreaker, _ state: State, _ what: String) {
      let (rebased, places) = breaker.rebasedForTesting(now: base, to: base)
      let changed = breaker.epoch != state.breaker.epoch
      var out: [Out] = []
      for one in state.out {
        var next = one
        if changed {
          next = .past(probe: one.ticket.isProbe)
        } else if case .probe(let number) = one {
          if let place = places.firstIndex(of: number) { next = .probe(UInt32(place + 1)) } else { next = .replaced }
        }
        out.append(next)
      }
      if ticket.isProbe {
        if let place = places.firstIndex(of: ticket.probe) { out.append(.probe(UInt32(place + 1))) }
      } else {
        out.append(.ordinary)
      }
      visit(rebased, out, now: base, epoch: 1, trace: "\(what) in \(state)")
    }

    let states = seen.values.reduce(0) { $0 + $1.count }
    print("breaker with \(probes) probes, \(probesToClose) to close: \(states) states, \(edges) steps")
    #expect(states > 1000 && phases.count == 3)
  }

  /// With the dependency well and all that was out lost, it closes and its ramp passes: within the longest rest (4), one
  /// lease for each place (2), and the ramp (2), and a tick for each of them.
  private func wayBack(from breaker: CircuitBreaker, using source: SeededRandom) -> String? {
    var breaker = breaker
    var random = source
    var now = Self.base
    for _ in 0..<14 {
      if case .allow(let ticket) = breaker.admit(now: now, using: &random) {
        _ = breaker.settle(ticket, .success, now: now, using: &random)
      }
      if breaker.phase == .closed && now >= breaker.view.until { return nil }
      now = now.advanced(by: Self.tick)
    }
    return "14 ticks of health and still \(breaker.phase)"
  }
}
