// SPDX-License-Identifier: Apache-2.0
import WeirBase

// What can be set, and what of it is looked at for every call.
extension CircuitBreaker {
  public struct Settings: Sendable, Equatable {
    public enum Window: Sendable, Equatable {
      /// The last so long, in 10 buckets (Hystrix).
      case time(Duration)
      /// The last so many (resilience4j).
      case calls(Int)
      /// All so far, each weighing half as much for every so long that has passed since (an EWMA).
      ///
      /// No call leaves it at once, so a share never jumps when an old one drops out; it reacts as a window by time does
      /// that is 2.9 half-lives long (both have the same mean age, halfLife ÷ ln 2). What is counted is the sum of the
      /// weights: at a steady rate it tends to rate · halfLife ÷ ln 2, which `ofAtLeast` must be below.
      case ewma(halfLife: Duration)
    }

    /// What the shares are of.
    public var window = Window.time(.seconds(10))
    /// The share of failures that opens it.
    public var failures = 0.5
    /// Calls in the window before a share counts; at most the window, when that is one of calls.
    public var ofAtLeast = 20
    /// Failures in a row that open it while fewer than `ofAtLeast` are in the window; 0: none do.
    ///
    /// Envoy's five. With more calls in the window a row of `ofAtLeast` opens it, or one of `inARow` that has lasted for
    /// a second (``rowLasts``).
    public var inARow = 5
    /// The share of slow calls that opens it.
    public var slowShare = 0.5
    /// What takes longer than this is slow; nil: nothing is.
    public var slow: Duration?
    /// How long it refuses before a probe may pass.
    ///
    /// The seeds' 30 s.
    public var rest = Duration.seconds(30)
    /// Each opening in a row rests this many times longer.
    public var restGrowth = 1.5
    /// The longest rest, before jitter.
    ///
    /// Envoy's longest ejection.
    public var restMax = Duration.seconds(300)
    /// The share by which chance lengthens or shortens a rest, so that breakers that opened together do not probe together.
    public var restJitter = 0.2
    /// Probes out at once; 1 … ``CircuitBreaker/probesLimit``.
    public var probes = 1
    /// Probes that must succeed before it closes.
    public var probesToClose = 1
    /// A probe that has not come back after this is given up and replaced.
    public var probeLease = Duration.seconds(10)
    /// After closing, the admitted share grows from `rampFrom` to 1 over this long; zero: all at once.
    public var ramp = Duration.seconds(10)
    /// The share admitted right after closing.
    public var rampFrom = 0.1

    public init() {}

    /// Hystrix 1.5: 10 s in 10 buckets, 20 calls, 50 %, 5 s of sleep, one probe, no ramp.
    public static var hystrix: Settings {
      var settings = Settings()
      settings.inARow = 0
      settings.rest = .seconds(5)
      settings.restGrowth = 1
      settings.restJitter = 0
      settings.ramp = .zero
      return settings
    }

    /// resilience4j 2: the last 100 calls, at least 100, 50 %, slow from 60 s at 100 %, open 60 s, 10 probes, no ramp.
    public static var resilience4j: Settings {
      var settings = Settings()
      settings.window = .calls(100)
      settings.ofAtLeast = 100
      settings.inARow = 0
      settings.slowShare = 1
      settings.slow = .seconds(60)
      settings.rest = .seconds(60)
      settings.restGrowth = 1
      settings.restJitter = 0
      settings.probes = 10
      settings.probesToClose = 10
      settings.ramp = .zero
      return settings
    }

    /// Polly 8: 30 s, at least 100, 10 %, broken for 5 s, one probe, no ramp.
    public static var polly: Settings {
      var settings = Settings()
      settings.window = .time(.seconds(30))
      settings.failures = 0.1
      settings.ofAtLeast = 100
      settings.inARow = 0
      settings.rest = .seconds(5)
      settings.restGrowth = 1
      settings.restJitter = 0
      settings.ramp = .zero
      return settings
    }
  }

  /// What opens it, resolved for the hot path.
  public struct Thresholds: Sendable, Equatable, BitwiseCopyable {
    public var failures: Double
    public var slowShare: Double
    public var ofAtLeast: UInt32
    /// 0: failures in a row never open it.
    public var inARow: UInt32
    /// In nanoseconds; `Int64.max`: nothing is slow.
    public var slow: Int64
    /// What one call counts in ``Totals``.
    public var unit: UInt32

    public init(_ settings: Settings = Settings()) {
      failures = settings.failures
      slowShare = settings.slowShare
      var minimum = max(1, settings.ofAtLeast)
      if case .calls(let length) = settings.window { minimum = min(minimum, max(1, length)) }
      ofAtLeast = UInt32(clamping: minimum)
      inARow = UInt32(clamping: settings.inARow)
      slow = settings.slow?.inNanoseconds ?? .max
      unit = OutcomeWindow.unit(settings.window)
    }

    /// Whether a window with these totals opens the breaker.
    public func trips(_ totals: Totals) -> Bool {
      guard UInt64(totals.calls) >= UInt64(ofAtLeast) * UInt64(unit) else {
        return inARow > 0 && totals.failuresInARow >= inARow
      }
      // As many in a row as are enough to judge by are a failing callee, however well it did before: at 66 calls a second
      // half of a window of 10 s would be full of failures only after 5 s.
      if inARow > 0, totals.failuresInARow >= ofAtLeast { return true }
      // The slack of 1e-9 keeps a share such as 0.1 · 30, which is not exact in binary, on its boundary.
      let calls = Double(totals.calls)
      if Double(totals.failures) >= failures * calls - 1e-9 && totals.failures > 0 { return true }
      return slow != .max && totals.slow > 0 && Double(totals.slow) >= slowShare * calls - 1e-9
    }

    /// What an answer with this status after so many nanoseconds says of the dependency: 5xx and 429 are failures.
    public func outcome(status: UInt16, took: Int64) -> Outcome {
      if status >= 500 || status == 429 { return .failure }
      return took > slow ? .slow : .success
    }
  }
}
