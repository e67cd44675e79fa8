// SPDX-License-Identifier: Apache-2.0
public import WeirBase

// What goes between a breaker and who calls through it, here or on another loop.
extension CircuitBreaker {
  /// How a call that was let through ended.
  public enum Outcome: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    case success, failure
    /// A success that took longer than `slow`.
    case slow
    /// The caller went away, or a limit of our own: says nothing of the dependency.
    case ignored
  }

  /// Results of many calls at once, as a loop posts them.
  ///
  /// Of their order only the run of failures at the end is kept.
  public struct Outcomes: Sendable, Equatable, BitwiseCopyable {
    /// Slow ones included.
    public var successes: UInt32 = 0
    public var failures: UInt32 = 0
    public var slow: UInt32 = 0
    /// Failures since the last success, or since the batch began.
    public var failuresInARow: UInt32 = 0

    public init() {}

    public mutating func add(_ outcome: Outcome) {
      switch outcome {
      case .success:
        successes &+= 1
        failuresInARow = 0
      case .slow:
        successes &+= 1
        slow &+= 1
        failuresInARow = 0
      case .failure:
        failures &+= 1
        failuresInARow &+= 1
      case .ignored: break
      }
    }

    public var isEmpty: Bool { successes == 0 && failures == 0 }
  }

  /// What a call that was let through gives back with its outcome.
  public struct Ticket: Sendable, Equatable, Hashable, BitwiseCopyable {
    /// The phase it was let through in.
    public var epoch: UInt32
    /// Which probe it is, from 1; 0: an ordinary call.
    public var probe: UInt32

    public init(epoch: UInt32, probe: UInt32 = 0) {
      self.epoch = epoch
      self.probe = probe
    }

    public var isProbe: Bool { probe != 0 }
  }

  public enum Admission: Sendable, Equatable, BitwiseCopyable {
    case allow(Ticket)
    /// Ask again then: when the rest, the lease of a probe or the ramp is over.
    case refuse(until: Instant)
  }

  public enum Change: Sendable, Equatable, BitwiseCopyable {
    case none
    case opened(until: Instant)
    /// The rest is over; said by ``wake(now:)`` only.
    case probing
    case closed
  }

  public enum Phase: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable { case closed, open, probing }

  /// Calls in the window; in one that forgets gradually, in 64ths of a call (``Thresholds/unit``).
  public struct Totals: Sendable, Equatable, BitwiseCopyable {
    public var calls: UInt32 = 0
    public var failures: UInt32 = 0
    public var slow: UInt32 = 0
    /// Failures since the last success, however long ago.
    public var failuresInARow: UInt32 = 0

    public init() {}
  }

  /// What a copy elsewhere needs in order to decide without the window: 40 bytes, taken at the last merge.
  public struct View: Sendable, Equatable, BitwiseCopyable {
    public typealias Phase = CircuitBreaker.Phase

    public enum Leave: Sendable, Equatable, BitwiseCopyable {
      /// The ticket is `Ticket(epoch: view.epoch)`.
      case allow
      /// The rest is over: ask the breaker itself for a probe.
      case askPermit
      case refuse(until: Instant)
    }

    public var phase = Phase.closed
    public var epoch: UInt32 = 0
    /// Open: when the rest is over.
    ///
    /// Closed: when the ramp is over. Probing: when the next lease is free.
    public var until = Instant.zero
    /// The share refused for each nanosecond that the ramp still has to go.
    public var rampSlope: Float = 0
    /// The window at the last merge.
    public var window = Totals()

    /// A breaker that was never in trouble.
    public init() {}

    /// Closed: allow, less what the ramp holds back.
    ///
    /// Open: refuse until the rest is over. After it: ask for a permit.
    public func admit(now: Instant, using random: inout SeededRandom) -> Leave {
      switch phase {
      case .closed:
        if now >= until { return .allow }
        return random.unit() < Double(until.since(now)) * Double(rampSlope) ? .refuse(until: until) : .allow
      case .open: return now < until ? .refuse(until: until) : .askPermit
      case .probing: return .askPermit
      }
    }

    /// Would these outcomes, on top of the window, open it? Then they are posted at once.
    public func trips(adding outcomes: Outcomes, by thresholds: Thresholds) -> Bool {
      phase == .closed && thresholds.trips(window.adding(outcomes, unit: thresholds.unit))
    }
  }
}

extension CircuitBreaker.Totals {
  /// These calls and those after them, none of them aged.
  func adding(_ outcomes: CircuitBreaker.Outcomes, unit: UInt32) -> Self {
    var sum = self
    sum.calls &+= (outcomes.successes &+ outcomes.failures) &* unit
    sum.failures &+= outcomes.failures &* unit
    sum.slow &+= outcomes.slow &* unit
    sum.failuresInARow =
      outcomes.successes == 0 ? failuresInARow &+ outcomes.failuresInARow : outcomes.failuresInARow
    return sum
  }
}
