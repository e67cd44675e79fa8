// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Finds out how many a callee can work on at the same time, from how fast its answers come.
///
/// By Little's law X answers a second of S seconds of work each keep X·S busy. More at once wait in the callee, fewer
/// leave it idle; the limit is X·S and a little more. X and the mean time R are measured. S is not: under load R is
/// longer than S, and finding S by letting the queue run dry costs the traffic (Envoy's adaptive concurrency,
/// envoyproxy/envoy#46532; BBR's PROBE_RTT). So S is *learned while nobody presses against the limit*, which is most of
/// a callee's life, and *corrected under pressure* by what each change of the limit does to X:
///
///     answers a second │        ┌──────────  the limit lowered, X stays: there was a queue, go on
///                      │      ╱              X falls with it: no queue is left, so S is what R is now
///                      └────┴─┴──────▶ limit
///                           ↑ the knee, X·S
///
/// Sources: Jain, *Congestion Avoidance in Computer Networks with Heterogeneous Hosts* (1989) for the knee; Brakmo and
/// Peterson, *TCP Vegas* (1995), and Cardwell et al., *BBR*, ACM Queue 14(5) (2016), for X·S; Netflix's
/// concurrency-limits for its use on calls. Vegas and Gradient alone were not taken: when the work itself gets twice as
/// long under pressure, they see a queue that is not there and shrink to the least (tested below with this very case).
///
/// ## Invariants
/// 1. `least` ≤ `limit` ≤ `most`, and one window moves it by 0.5 to 1.5 times at most.
/// 2. Without pressure (fewer inside than three quarters of the limit) the limit does not move, but that a raise which
///    nobody uses is taken back: callers who wait for their answers would leave it where it is for ever.
/// 3. No limit is final: under pressure S shrinks by 0.2 % a window until X falls, so one that is too high
///    comes down, and one that is too low is noticed by that and goes up. Where S was learned from a queue (a start under
///    load), X does not fall again and again, and S shrinks four times as fast each time, up to a fifth a window: ten
///    times too long is found out in about 120 windows (80, 20, 5, 1 … for 15 % each), which would be 1 150 at 0.2 %.
public struct AdaptiveLimit: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// Before anything is known: 64 as for ``AtOnce``, which serves 6 400 requests a second of 10 ms.
    public var start = 64
    /// Never below; one place is always left.
    public var least = 1
    /// Never above; Envoy's circuit breakers have 1024 requests by default.
    public var most = 1024
    /// What is let in above X·S, so that the callee has its next request at hand: a quarter.
    ///
    /// Each is a quarter of S longer under pressure, which keeps a p99 below twice the idle one whatever the distribution.
    public var headroom = 0.25
    /// How long is measured before the limit moves.
    public var window = Duration.milliseconds(100)
    /// How many answers a window has at least: the mean of 500 is known to 4.5 % when times are exponential.
    public var samplesMin = 500

    public init() {}
  }

  public enum Change: Sendable, Equatable, BitwiseCopyable {
    case none
    case moved(limit: Int)
  }

  /// A limit, how many were inside under it, and how many answers a nanosecond came.
  private struct Level: Sendable, Equatable, BitwiseCopyable {
    var limit = 0.0
    var inside = 0.0
    var rate = 0.0
    /// S as it was thought to be.
    var service = 0.0
  }

  /// How many may be inside.
  public private(set) var limit: Int
  /// S: how long the work takes without waiting, in nanoseconds; 0 when nothing is known.
  public private(set) var service = 0.0

  private let least: Double
  private let most: Double
  private let gain: Double
  private let window: Int64
  private let samplesMin: Int64
  private var exact: Double
  /// S has been seen without pressure or at the knee; before that it is only known not to be longer.
  private var isProven = false
  private var count: Int64 = 0
  private var sum = 0.0
  private var from: Instant?
  /// The limit that the present one is compared with; each pair is judged once, or chance would win in the end.
  private var before = Level()
  /// How often in a row a limit that was lowered because S shrank has left X as it was.
  private var inVain = 0
  /// X over the last windows of about this limit.
  private var smooth = 0.0

  public init(_ settings: Settings = Settings()) {
    least = Double(max(1, settings.least))
    most = max(least, Double(settings.most))
    gain = 1 + max(0, settings.headroom)
    window = max(1, settings.window.inNanoseconds)
    samplesMin = Int64(max(1, settings.samplesMin))
    exact = max(least, min(Double(settings.start), most))
    limit = Int(exact)
  }

  /// An answer came after so many nanoseconds inside.
  ///
  /// What failed fast tells nothing of the work and is not reported; what ran out of time is, with the time it had.
  public mutating func settle(latency: Int64, now: Instant) -> Change { settle(count: 1, sum: latency, now: now) }

  /// `count` answers came since the last post, `sum` nanoseconds altogether: for loops that share one limit.
  public mutating func settle(count answers: Int, sum nanoseconds: Int64, now: Instant) -> Change {
    guard let from else {
      from = now
      return .none
    }
    // After a move the first answers are those of the old limit: the window begins when they are through.
    guard now > from else { return .none }
    count += Int64(max(0, answers))
    sum += Double(max(0, nanoseconds))
    let elapsed = now.since(from)
    guard elapsed >= window, count > 0 else { return .none }
    let latency = sum / Double(count)
    // What is far too slow needs no fine measurement: a quarter of the answers is enough to halve the limit.
    let isPlain = isProven && latency > 2.5 * service && 4 * count >= samplesMin
    guard count >= samplesMin || isPlain else { return .none }
    let before = limit
    measured(rate: Double(count) / Double(elapsed), latency: latency, inside: sum / Double(elapsed))
    count = 0
    sum = 0
    guard limit != before else {
      self.from = now
      return .none
    }
    self.from = now.advanced(by: Int64(min(latency, 1e18)))
    return .moved(limit: limit)
  }

  /// A window is over.
  private mutating func measured(rate: Double, latency: Double, inside: Double) {
    // Three quarters, for low classes may not take the last places (``PriorityAdmission``).
    if inside < 0.75 * exact.rounded() {
      learn(latency, isQuiet: inside < 0.5 * exact)
      return
    }
    // A jump is a change of the callee or of the limit; otherwise several windows together tell X to 2 %
    // (a longer mean lags behind the limit, and the knee is passed unseen).
    smooth = abs(rate - smooth) > 0.25 * smooth ? rate : smooth + (rate - smooth) / 4
    let used = inside * exact / exact.rounded()
    let floor = judge(latency, inside, used)
    let down = latency > 3 * service ? 0.5 : 0.8
    // Up as far as it is used: a limit that nobody reaches would be corrected by nothing.
    let target = max(floor, min(exact * service / latency * gain, max(exact, used * gain)))
    let moved = max(least, min(max(down * exact, min(target, 1.5 * exact)), most))
    if abs(moved - exact) > 0.1 * exact { smooth = 0 }
    exact = moved
    limit = Int(exact.rounded())
  }

  /// Corrects S by what the last moves of the limit did to X; the answer is what the limit is not to fall below.
  ///
  /// `used`: those inside, in the measure of the exact limit.
  private mutating func judge(_ latency: Double, _ inside: Double, _ used: Double) -> Double {
    let level = Level(limit: exact, inside: inside, rate: smooth, service: service)
    guard service > 0, before.limit > 0 else {
      if service == 0 { service = latency }
      before = level
      return 0
    }
    let share = exact / before.limit
    var floor = 0.0
    if share <= 0.85 {
      // X moved by more than half as much as the limit: "in step" is nearer than "not at all".
      if smooth < (1 + share) / 2 * before.rate {
        // What chance says at most a few times in a hundred moves S by little; the truth says it again.
        service = isProven ? max(service, min(latency, 1.3 * service)) : latency
        isProven = true
        floor = max(exact, gain * used)
        inVain = 0
      } else if service < 0.9 * before.service {
        inVain = min(inVain + 1, 6)
      }
      before = level
    } else if share >= 1.15 {
      if smooth > (1 + share) / 2 * before.rate {
        service = min(service, latency)
        // Nothing is known yet: go on as long as it helps.
        if !isProven { floor = max(exact, gain * used) }
        inVain = 0
      } else {
        // More at once brought nothing: X·S was not more than what was inside before.
        service = min(service, 1.1 * before.inside / smooth)
      }
      before = level
    } else if abs(share - 1) < 0.05 {
      before.rate = smooth
      before.inside = inside * before.limit / exact
    }
    if floor > 0 { return floor }
    // Lower it cannot go, so nothing would ever be judged again: what remains is taken for the work, and one step up
    // tells whether that is so.
    if exact <= least {
      service = latency
      isProven = true
      return 0
    }
    if latency < service {
      service += (latency - service) / 2
    } else {
      // A fifth a window while nothing is known: the way down from a start under overload.
      service *= isProven ? max(0.8, 1 - 0.002 * Double(1 << (2 * inVain))) : 0.8
    }
    return 0
  }

  /// Nobody pressed: R is S, or a little more.
  ///
  /// It falls faster than it rises, for a queue in the callee makes R longer, and below half the limit there is none.
  /// That it rises at all above half is needed: what only falls ends at the luckiest window of a day.
  private mutating func learn(_ latency: Double, isQuiet: Bool) {
    if service == 0 {
      service = latency
    } else if latency < service {
      service += (latency - service) / 8
    } else {
      service += min(latency - service, service / (isQuiet ? 256 : 2048))
    }
    isProven = true
    if before.limit > 0, exact > before.limit {
      exact = before.limit
      limit = Int(exact.rounded())
      smooth = 0
    }
    if isQuiet { before = Level() }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if Double(limit) < least || Double(limit) > most { return "a limit of \(limit) outside \(least) … \(most)" }
    if abs(exact - Double(limit)) > 0.5 { return "a limit of \(limit) for \(exact)" }
    if !(service >= 0 && service.isFinite) { return "work takes \(service) ns" }
    if count < 0 || sum < 0 { return "\(count) answers of \(sum) ns" }
    return nil
  }
}
