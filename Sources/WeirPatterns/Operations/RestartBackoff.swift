// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// When to start a program again that ended by itself: soon the first time, later each time it keeps ending.
///
/// Source: Kubernetes' CrashLoopBackOff (10 s doubling to 5 min, forgotten after twice that of running) and systemd's
/// `RestartSec`; the first restart is quick, for a lone crash should cost well under a second. Jitter only adds: instances
/// that died of the same cause do not come back in the same instant.
///
///     exits in a row   1        2        3        …   8        9 and more
///     wait             200 ms   400 ms   800 ms   …   25.6 s   30 s          each + U(0, jitter · wait)
/// ## Invariants
/// 1. A start is at most `max`·(1 + jitter) after the exit, so it is always tried again.
/// 2. Exits count as in a row until it stayed up for `stable`; then the next wait is `first` again.
public struct RestartBackoff: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// The wait after the first exit.
    public var first = Duration.milliseconds(200)
    /// Each further exit waits this many times longer.
    public var factor = 2.0
    /// The longest wait, before jitter.
    public var max = Duration.seconds(30)
    /// The share of a wait that chance adds.
    public var jitter = 0.2
    /// Staying up for so long ends the row: twice `max`, as Kubernetes does.
    public var stable = Duration.seconds(60)

    public init() {}
  }

  private let backoff: Backoff
  private let stable: Int64
  /// Exits in a row.
  public private(set) var exits = 0
  private var startedAt: Instant?

  public init(_ settings: Settings = Settings()) {
    var waits = Backoff.Settings()
    waits.kind = .seed
    waits.first = settings.first
    waits.factor = settings.factor
    waits.max = settings.max
    waits.jitter = settings.jitter
    backoff = Backoff(waits)
    stable = Swift.max(0, settings.stable.inNanoseconds)
  }

  /// Whether it is in a crash loop by now: more than one exit in a row.
  public var isCrashLoop: Bool { exits > 1 }

  /// The program runs.
  public mutating func started(now: Instant) { startedAt = now }

  /// The program ended, or could not be started: when to start it again.
  public mutating func exited(now: Instant, using random: inout SeededRandom) -> Instant {
    if let startedAt, now.since(startedAt) >= stable { exits = 0 }
    startedAt = nil
    exits = Swift.min(exits + 1, 1_000_000)
    return now.advanced(by: backoff.wait(after: exits, using: &random))
  }

  /// Forgets the row: someone changed the program or asked for a start by hand.
  public mutating func reset() { exits = 0 }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if exits < 0 { return "\(exits) exits" }
    return backoff.violation()
  }
}
