// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Start-up, readiness and liveness of one instance: when to probe it, whether it gets traffic, when it must be restarted.
///
/// Source: Kubernetes' three probes (startup, readiness, liveness) and their thresholds; HAProxy's `fastinter` for the
/// quicker pace while in doubt. Traffic may raise a doubt; only probes decide.
///
///                 ready probe ok              readiness fails × failuresToUnready
///     starting ──────────────────▶ ready ─────────────────────────────▶ unready
///        │  ▲                        ▲ ◀──── ok × successesToReady ──────── │
///        │  └─started── down         └──────────────────────────────────────┤
///        │ startWithin over            liveness fails × failuresToRestart   │
///        ▼                                          ▼                       ▼
///     failed ── the keeper restarts it ──▶ started; dead ── restart ──▶ started
/// The driver asks `probe(now:)` at `nextWake`, makes the probe, tells `probed`, and calls `wake` with every timer.
///
/// ## Invariants
/// 1. At most one probe of each kind is out.
/// 2. A probe that is never answered counts as failed `timeout` after it was sent, at the next `wake`.
/// 3. `started` leads to ready, failed or down in bounded time: `startWithin` ends the wait, of what is ours.
/// 4. Only a ready instance gets traffic; it gets it no later than `successesToReady` probes after it is well.
public struct HealthMonitor: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How often a settled instance is probed.
    public var every = Duration.seconds(2)
    /// A probe not answered by then has failed.
    public var timeout = Duration.seconds(1)
    /// Not ready so long after its start: the start has failed.
    public var startWithin = Duration.seconds(30)
    /// The first pause between probes while starting; it doubles up to `every`.
    public var startEvery = Duration.milliseconds(50)
    /// The pause between probes while in doubt: one has failed, or traffic has.
    public var doubtEvery = Duration.milliseconds(250)
    /// Readiness probes that must fail in a row before it gets no traffic.
    ///
    /// Kubernetes' 3.
    public var failuresToUnready = 3
    /// Readiness probes that must succeed in a row before it gets traffic (again).
    ///
    /// Kubernetes' 1.
    public var successesToReady = 1
    /// Whether there is a liveness probe of its own.
    public var checksLiveness = false
    /// Liveness probes that must fail in a row before it is restarted.
    ///
    /// Kubernetes' 3.
    public var failuresToRestart = 3
    /// Somebody here starts it again when it does not get ready, or does not live.
    ///
    /// What runs elsewhere is waited for as long as it takes, and its life is nobody's business here: given up, it would
    /// stay so, for nobody says that it has been started.
    public var isOurs = true
    /// Ready once is ready until it exits: it is asked while it starts, and not after.
    public var asksOnce = false
    /// The share by which chance lengthens or shortens the pause between probes, so that they spread over time.
    public var jitter = 0.1

    public init() {}
  }

  public enum Phase: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    /// Not running.
    case down
    case starting, ready, unready
    /// Did not get ready in time.
    case failed
    /// Not live any more.
    case dead
  }

  public enum Kind: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable { case ready, live }

  public enum Change: UInt8, Sendable, Equatable, BitwiseCopyable {
    case none, becameReady, becameUnready, startFailed
    /// It runs but does not live: stop it and start it again.
    case restart
  }

  /// A probe to make now.
  public struct Probe: Sendable, Equatable, BitwiseCopyable {
    public var kind: Kind
    /// When it has failed if no answer came.
    public var until: Instant
  }

  private struct Track: Sendable, Equatable, BitwiseCopyable {
    /// When the next probe is due.
    var next = Instant.distantFuture
    /// When the last one was sent.
    var sent = Instant.zero
    /// While one is out: when it has failed.
    var until: Instant?
    var failures: Int32 = 0
    var successes: Int32 = 0
  }

  private let every: Int64
  private let timeout: Int64
  private let startWithin: Int64
  private let startEvery: Int64
  private let doubtEvery: Int64
  private let failuresToUnready: Int32
  private let successesToReady: Int32
  private let checksLiveness: Bool
  private let failuresToRestart: Int32
  private let isOurs: Bool
  private let asksOnce: Bool
  private let jitter: Double

  public private(set) var phase = Phase.down
  private var readiness = Track()
  private var liveness = Track()
  private var startEnds = Instant.distantFuture
  private var startPause: Int64 = 0

  public init(_ settings: Settings = Settings()) {
    every = max(1, settings.every.inNanoseconds)
    timeout = max(1, settings.timeout.inNanoseconds)
    startWithin = max(1, settings.startWithin.inNanoseconds)
    startEvery = min(max(1, settings.startEvery.inNanoseconds), every)
    doubtEvery = min(max(1, settings.doubtEvery.inNanoseconds), every)
    failuresToUnready = Int32(clamping: max(1, settings.failuresToUnready))
    successesToReady = Int32(clamping: max(1, settings.successesToReady))
    isOurs = settings.isOurs
    checksLiveness = settings.checksLiveness && settings.isOurs
    failuresToRestart = Int32(clamping: max(1, settings.failuresToRestart))
    asksOnce = settings.asksOnce
    jitter = min(max(0, settings.jitter), 1)
  }

  // MARK: Asking

  /// Whether it may get traffic.
  public var isReady: Bool { phase == .ready }

  /// Whether it runs and is watched.
  public var isWatched: Bool { phase == .starting || phase == .ready || phase == .unready }

  /// When `wake` or `probe` has something to do; nil: not before the next input.
  public var nextWake: Instant? {
    guard isWatched else { return nil }
    var first = min(readiness.until ?? readiness.next, startEnds)
    if checksLiveness { first = min(first, liveness.until ?? liveness.next) }
    return first
  }

  // MARK: Inputs

  /// The program was started (again).
  public mutating func started(now: Instant) {
    phase = .starting
    startEnds = isOurs ? now.advanced(by: startWithin) : .distantFuture
    startPause = startEvery
    readiness = Track()
    readiness.next = now
    liveness = Track()
  }

  /// The program ended, or is being stopped: nothing is probed until it is started again.
  public mutating func exited(now: Instant) -> Change {
    let wasReady = phase == .ready
    stopWatching(.down)
    return wasReady ? .becameUnready : .none
  }

  /// The probe to make now, if one is due.
  ///
  /// Ask again until nil: both kinds may be due.
  public mutating func probe(now: Instant) -> Probe? {
    guard isWatched else { return nil }
    if readiness.until == nil && now >= readiness.next {
      readiness.sent = now
      let until = now.advanced(by: timeout)
      readiness.until = until
      return Probe(kind: .ready, until: until)
    }
    // A program that starts may be slow to live; Kubernetes holds the liveness probe back until the start-up probe is done.
    if checksLiveness && phase != .starting && liveness.until == nil && now >= liveness.next {
      liveness.sent = now
      let until = now.advanced(by: timeout)
      liveness.until = until
      return Probe(kind: .live, until: until)
    }
    return nil
  }

  /// A probe was answered (or failed).
  ///
  /// One that nobody waits for any more changes nothing.
  public mutating func probed(ok: Bool, kind: Kind, now: Instant, using random: inout SeededRandom) -> Change {
    guard isWatched else { return .none }
    switch kind {
    case .ready:
      guard readiness.until != nil else { return .none }
      return settleReadiness(ok: ok, now: now, using: &random)
    case .live:
      guard liveness.until != nil else { return .none }
      return settleLiveness(ok: ok, now: now, using: &random)
    }
  }

  /// Time has passed: probes without an answer have failed, or the start has.
  public mutating func wake(now: Instant, using random: inout SeededRandom) -> Change {
    guard isWatched else { return .none }
    if phase == .starting && now >= startEnds {
      stopWatching(.failed)
      return .startFailed
    }
    if let until = liveness.until, now >= until {
      let change = settleLiveness(ok: false, now: now, using: &random)
      if change != .none { return change }
    }
    if let until = readiness.until, now >= until { return settleReadiness(ok: false, now: now, using: &random) }
    return .none
  }

  /// Traffic could not reach it: the next probe comes forward, though not sooner than `doubtEvery` after the last.
  public mutating func suspected(now: Instant) {
    guard phase == .ready && readiness.until == nil && !asksOnce else { return }
    readiness.next = min(readiness.next, max(now, readiness.sent.advanced(by: doubtEvery)))
  }

  // MARK: Settling

  private mutating func settleReadiness(ok: Bool, now: Instant, using random: inout SeededRandom) -> Change {
    readiness.until = nil
    if ok {
      readiness.failures = 0
      readiness.successes = min(readiness.successes + 1, successesToReady)
    } else {
      readiness.successes = 0
      readiness.failures = min(readiness.failures + 1, failuresToUnready)
    }
    var change = Change.none
    if phase != .ready && readiness.successes >= successesToReady {
      if phase == .starting {
        liveness.next = now
        startEnds = .distantFuture
      }
      phase = .ready
      change = .becameReady
    } else if phase == .ready && readiness.failures >= failuresToUnready {
      phase = .unready
      change = .becameUnready
    }
    let pause: Int64
    if phase == .starting {
      pause = startPause
      // Who asks nothing but whether a connection is taken asks for little, and may ask more often.
      startPause = min(asksOnce ? doubtEvery : every, startPause.saturatingAdd(startPause))
    } else if phase == .ready && readiness.failures > 0 || phase == .unready && readiness.successes > 0 {
      pause = doubtEvery
    } else {
      pause = every
    }
    readiness.next =
      asksOnce && phase == .ready ? .distantFuture : now.advanced(by: spread(pause, using: &random))
    return change
  }

  private mutating func settleLiveness(ok: Bool, now: Instant, using random: inout SeededRandom) -> Change {
    liveness.until = nil
    liveness.failures = ok ? 0 : liveness.failures + 1
    if liveness.failures >= failuresToRestart {
      stopWatching(.dead)
      return .restart
    }
    liveness.next = now.advanced(by: spread(every, using: &random))
    return .none
  }

  private mutating func stopWatching(_ phase: Phase) {
    self.phase = phase
    startEnds = .distantFuture
    readiness = Track()
    liveness = Track()
  }

  private func spread(_ pause: Int64, using random: inout SeededRandom) -> Int64 {
    let swing = Int64(Double(pause) * jitter)
    return max(1, pause - swing).saturatingAdd(random.nanoseconds(upTo: swing.saturatingAdd(swing)))
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    switch phase {
    case .starting:
      if startEnds == .distantFuture && isOurs { return "starting without an end" }
      if liveness.until != nil { return "a liveness probe is out while starting" }
    case .ready:
      if readiness.failures >= failuresToUnready { return "ready after \(readiness.failures) failures" }
    case .unready:
      if readiness.successes >= successesToReady { return "unready after \(readiness.successes) successes" }
    case .down, .failed, .dead:
      if readiness.until != nil || liveness.until != nil { return "a probe is out while \(phase)" }
    }
    let isDone = asksOnce && phase == .ready
    if isWatched && !isDone && readiness.until == nil && readiness.next == .distantFuture {
      return "never probed again"
    }
    if !checksLiveness && liveness.until != nil { return "a liveness probe is out that is not asked for" }
    return nil
  }
}
