// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Refuses calls to a dependency that keeps failing, and finds out cheaply when it is well again.
///
/// Source: Nygard, *Release It!*, 2nd ed. (2018), ch. 5; the window with a minimum from Hystrix, slow calls and windows by
/// count from resilience4j. Leases for probes and the ramp are ours: half-open permits that never come back are how
/// peers wedge (resilience4j#544, #935, #1090).
///
///                    ┌──── too many failed or slow in the window, or in a row ────┐
///                    │                                                            ▼
///     closed (admits; after a rest only a growing share: the ramp)        open (refuses until)
///                    ▲                                                        │       ▲
///                    │ enough probes answered                     rest is over│       │a probe failed:
///                    └─────────────────────────────── probing ◀───────────────┘       │a longer rest
///                                      (a few leased probes, the rest refused) ───────┘
/// Alone, a caller asks `admit` and tells `settle`. On several event loops each loop holds a ``View``: it admits by it,
/// gathers ``Outcomes``, and has them absorbed here now and then (at once if ``View/trips(adding:by:)``); only a probe
/// needs a permit from here (`acquireProbe`).
///
/// ## Invariants
/// 1. At most `probes` leases are out at a time.
/// 2. The result of a call let through before the last change of phase changes nothing: it tells of the past.
/// 3. No sequence of inputs refuses for ever: a probe that never comes back is replaced after `probeLease`, and open ends
///    after at most `restMax`·(1 + `restJitter`).
/// 4. The window's totals are the sums of its buckets; failed and slow calls are calls.
/// 5. An ignored call counts nowhere; an ignored probe gives its place back.
public struct CircuitBreaker: Sendable, Equatable {
  /// The most probes at once: the leases live in the value.
  ///
  /// resilience4j's default of 10 fits.
  public static let probesLimit = 16

  /// A probe that is out.
  struct Lease: Sendable, Equatable, BitwiseCopyable {
    /// 0: free.
    var probe: UInt32 = 0
    var ends = Instant.zero
  }

  public let thresholds: Thresholds
  private let rest: Int64
  private let restMax: Int64
  private let restGrowth: Double
  private let restJitter: Double
  private let probes: Int
  private let probesToClose: Int
  private let probeLease: Int64
  private let ramp: Int64
  private let rampSlope: Float

  public private(set) var phase = Phase.closed
  /// Changes with every change of phase.
  public private(set) var epoch: UInt32 = 0
  /// Open: when the rest is over.
  ///
  /// Closed: when the ramp is over.
  private var until = Instant.zero
  private var window: OutcomeWindow
  /// When the present row of failures began; `distantFuture` while there is none.
  private var rowSince = Instant.distantFuture
  /// The rest before jitter of the last opening; 0: the next opening is not one in a row.
  private var lastRest: Int64 = 0
  private var leases = FixedArray<16, Lease>(repeating: Lease())
  private var probesSent: UInt32 = 0
  private var probesAnswered: Int = 0

  public init(_ settings: Settings = Settings()) {
    thresholds = Thresholds(settings)
    rest = max(0, settings.rest.inNanoseconds)
    restMax = max(rest, settings.restMax.inNanoseconds)
    restGrowth = max(1, settings.restGrowth)
    restJitter = min(max(0, settings.restJitter), 1)
    probes = min(max(1, settings.probes), CircuitBreaker.probesLimit)
    probesToClose = max(1, settings.probesToClose)
    // A lease of no length would be over before the probe is sent, and every caller would be one.
    probeLease = max(1, settings.probeLease.inNanoseconds)
    ramp = max(0, settings.ramp.inNanoseconds)
    rampSlope = ramp == 0 ? 0 : Float((1 - min(max(0, settings.rampFrom), 1)) / Double(ramp))
    window = OutcomeWindow(settings.window)
  }

  // MARK: Asking

  /// The window as it was last counted; what has aged since is taken out with the next input.
  public var totals: Totals { window.totals }

  /// Probes out whose lease is not over by `now`.
  public func probesOut(now: Instant) -> Int {
    var count = 0
    for i in 0..<probes where leases[i].probe != 0 && leases[i].ends > now { count += 1 }
    return count
  }

  public var view: View {
    var view = View()
    view.phase = phase
    view.epoch = epoch
    view.until = phase == .probing ? (nextWake ?? .zero) : until
    view.rampSlope = rampSlope
    view.window = window.totals
    return view
  }

  /// When ``wake(now:)`` has something to do: the end of a rest, or of the first lease when all are out.
  public var nextWake: Instant? {
    switch phase {
    case .closed: return nil
    case .open: return until
    case .probing:
      var first = Instant.distantFuture
      for i in 0..<probes {
        if leases[i].probe == 0 { return nil }
        first = min(first, leases[i].ends)
      }
      return first
    }
  }

  // MARK: Inputs

  /// May this call be made? An allowed one is settled later; one that is not comes back as a lost probe at worst.
  public mutating func admit(now: Instant, using random: inout SeededRandom) -> Admission {
    _ = wake(now: now)
    switch view.admit(now: now, using: &random) {
    case .allow: return .allow(Ticket(epoch: epoch))
    case .refuse(let until): return .refuse(until: until)
    case .askPermit:
      if let ticket = acquireProbe(now: now) { return .allow(ticket) }
      return .refuse(until: nextWake ?? now)
    }
  }

  /// A permit for one probe, when the rest is over; nil while it is not, or while all permits are out.
  ///
  /// Asked by a copy that has not heard yet that the breaker is closed again, it gives an ordinary ticket.
  public mutating func acquireProbe(now: Instant) -> Ticket? {
    _ = wake(now: now)
    switch phase {
    case .closed: return Ticket(epoch: epoch)
    case .open: return nil
    case .probing:
      for i in 0..<probes where leases[i].probe == 0 || leases[i].ends <= now {
        probesSent = probesSent == .max ? 1 : probesSent + 1
        leases[i] = Lease(probe: probesSent, ends: now.advanced(by: probeLease))
        return Ticket(epoch: epoch, probe: probesSent)
      }
      return nil
    }
  }

  /// Time has passed: from open to probing when the rest is over.
  ///
  /// Early, late or double calls do no harm.
  @discardableResult
  public mutating func wake(now: Instant) -> Change {
    guard phase == .open && now >= until else { return .none }
    phase = .probing
    epoch &+= 1
    probesAnswered = 0
    leases = FixedArray(repeating: Lease())
    return .probing
  }

  /// A call that was let through has ended.
  public mutating func settle(
    _ ticket: Ticket, _ outcome: Outcome, now: Instant, using random: inout SeededRandom
  ) -> Change {
    guard ticket.epoch == epoch else { return .none }
    switch phase {
    case .open: return .none
    case .closed:
      guard outcome != .ignored else { return .none }
      window.record(outcome, now: now)
      watchRow(now: now)
      return trips(now: now) ? open(now: now, using: &random) : .none
    case .probing:
      guard let place = leaseIndex(of: ticket.probe) else { return .none }
      leases[place] = Lease()
      switch outcome {
      case .ignored: return .none
      case .failure: return open(now: now, using: &random)
      case .slow where thresholds.slow != .max: return open(now: now, using: &random)
      case .success, .slow:
        probesAnswered += 1
        guard probesAnswered >= probesToClose else { return .none }
        close(now: now)
        return .closed
      }
    }
  }

  /// Results of ordinary calls, gathered by a copy under the epoch it held.
  ///
  /// The same as settling each, but for three effects of order, all within one batch: the window is judged once, at the
  /// end; a run of failures that a success ended is not seen (its holder sees it, and posts at once); and all count as of
  /// `now`.
  public mutating func absorb(
    _ outcomes: Outcomes, epoch: UInt32, now: Instant, using random: inout SeededRandom
  ) -> Change {
    guard epoch == self.epoch && phase == .closed && !outcomes.isEmpty else { return .none }
    window.record(outcomes, now: now)
    // A success among them ended the row there was: what trails it is a new one.
    if outcomes.successes > 0 { rowSince = .distantFuture }
    watchRow(now: now)
    return trips(now: now) ? open(now: now, using: &random) : .none
  }

  /// Another callee answers under this name: what was learned was about the one before it, and so are the calls out.
  public mutating func forget(now: Instant) {
    close(now: now)
    lastRest = 0
  }

  private mutating func watchRow(now: Instant) {
    if window.totals.failuresInARow == 0 {
      rowSince = .distantFuture
    } else if rowSince == .distantFuture {
      rowSince = now
    }
  }

  /// The thresholds, or a row of failures that has lasted for a second.
  ///
  /// Where a balancer avoids who fails, the calls of a row come seconds apart, and what was well before fills the window
  /// for its whole length. By chance a row of five is common on a busy callee, but not one that lasts: with a tenth of the
  /// calls failing and 5 calls a second it comes every six hours at most (5 · 0.9 · 0.1⁵ a second), at 50 a second never.
  private func trips(now: Instant) -> Bool {
    if thresholds.trips(window.totals) { return true }
    return thresholds.inARow > 0 && window.totals.failuresInARow >= thresholds.inARow
      && now.since(rowSince) >= CircuitBreaker.rowLasts && rowSince != .distantFuture
  }

  /// How long a row of failures lasts that opens it whatever came before: a second.
  public static let rowLasts: Int64 = 1_000_000_000

  // MARK: Changes of phase

  private mutating func open(now: Instant, using random: inout SeededRandom) -> Change {
    // An opening after a ramp that was passed whole is a new trouble, not the old one.
    if phase == .closed && now >= until { lastRest = 0 }
    let grown = lastRest == 0 ? Double(rest) : Double(lastRest) * restGrowth
    let length = grown >= Double(restMax) ? restMax : Int64(grown)
    lastRest = max(1, length)
    let swing = Int64(Double(length) * restJitter)
    let jittered = max(0, length - swing).saturatingAdd(random.nanoseconds(upTo: swing.saturatingAdd(swing)))
    phase = .open
    epoch &+= 1
    until = now.advanced(by: jittered)
    probesAnswered = 0
    leases = FixedArray(repeating: Lease())
    window.clear()
    rowSince = .distantFuture
    return .opened(until: until)
  }

  private mutating func close(now: Instant) {
    phase = .closed
    epoch &+= 1
    until = now.advanced(by: ramp)
    probesAnswered = 0
    leases = FixedArray(repeating: Lease())
    window.clear()
    rowSince = .distantFuture
  }

  private func leaseIndex(of probe: UInt32) -> Int? {
    guard probe != 0 else { return nil }
    for i in 0..<probes where leases[i].probe == probe { return i }
    return nil
  }

  // MARK: Checking

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if let wrong = window.violation() { return wrong }
    var out = 0
    for i in leases.indices where leases[i].probe != 0 {
      if i >= probes { return "lease \(i) of \(probes) is out" }
      out += 1
      for j in 0..<i where leases[j].probe == leases[i].probe { return "probe \(leases[i].probe) is out twice" }
    }
    switch phase {
    case .closed:
      if out > 0 { return "\(out) probes are out while closed" }
      if thresholds.trips(window.totals) { return "closed, though the window opens it: \(window.totals)" }
    case .open:
      if out > 0 { return "\(out) probes are out while open" }
      if window.totals != Totals() { return "open with a window of \(window.totals)" }
      if lastRest == 0 { return "open without a rest" }
    case .probing:
      if probesAnswered >= probesToClose { return "\(probesAnswered) probes answered and still probing" }
      if window.totals != Totals() { return "probing with a window of \(window.totals)" }
      if lastRest == 0 { return "probing without a rest before" }
    }
    if lastRest > max(1, restMax) { return "a rest of \(lastRest) ns is longer than \(restMax)" }
    return nil
  }

  // MARK: For tests

  /// The same breaker as any input can tell, with the clock put to `base`, the epoch to 1 and probes numbered by place.
  ///
  /// It makes the reachable states finite, so that a test can visit all of them. `probes` are the old numbers by place.
  /// Windows by time keep their buckets' absolute place: rebase windows by calls only.
  package func rebasedForTesting(now: Instant, to base: Instant) -> (breaker: CircuitBreaker, probes: [UInt32]) {
    var copy = self
    if phase == .closed && now >= until { copy.lastRest = 0 }
    copy.until = phase == .probing ? base : base.advanced(by: max(0, until.since(now)))
    copy.epoch = 1
    copy.probesSent = UInt32(CircuitBreaker.probesLimit)
    var places: [UInt32] = []
    for i in 0..<probes {
      places.append(leases[i].probe)
      guard leases[i].probe != 0 else { continue }
      copy.leases[i] = Lease(probe: UInt32(i + 1), ends: base.advanced(by: max(0, leases[i].ends.since(now))))
    }
    return (copy, places)
  }
}
