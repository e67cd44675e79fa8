// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Says when a second attempt is worth sending while the first is still out, and when it would only add load.
///
/// Source: Dean and Barroso, *The Tail at Scale*, CACM 56(2) (2013), *Hedged requests*: wait for the 95th percentile, and
/// the extra load is about 5 %. The flow decides before whether the request may be sent twice at all (method, body).
///
///     began ──▶ after(d) ─ ─ d = observed quantile ─ ─▶ due ──▶ send: another instance, first answer wins
///        │ too little known, or slow for all                └──▶ keep: crowded, share used up, budget spent
///        └──▶ none                                            ended(latency): counted from the first attempt's start
///
/// **Hedging does not feed on itself**: below d nothing changes by a hedge that leaves at d, so the share of calls that
/// take longer than d stays what it was, if a call's time is counted from its *first* attempt, whoever answered.
///
/// **A tail is what few suffer.** No hedge is sent when it is not a tail: when three times as many outlive d as should
/// (the callee is getting slow now), when the median is twice what it was in calm (it has become slow for all), when d
/// is `spreadMax` medians away (more than 1 − quantile are in a slow mode of their own), or when others wait for a place.
///
/// ## Invariants
/// 1. Hedges sent ≤ `share` · calls begun, at any moment: tokens start at none, each call adds `share`, a hedge takes 1.
/// 2. A hedge is also taken from the retry budget, and from neither if one of them refuses.
/// 3. Nothing is sent before `samplesMin` calls have been seen, nor sooner than `least` after the first attempt.
public struct HedgeTrigger: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// After which share of calls has ended a second attempt is sent: Dean and Barroso's 95th percentile.
    public var quantile = 0.95
    /// A delay of the owner's choice instead of that quantile; nil: what is observed.
    public var delay: Duration?
    /// Hedges as a share of calls: 5 %, what that percentile costs.
    public var share = 0.05
    /// Before so many calls the quantile is a guess: 100 have five beyond the 95th.
    public var samplesMin = 100
    /// Never sooner: below a millisecond a second attempt costs more than the wait.
    public var least = Duration.milliseconds(1)
    /// After so long what was seen weighs half, if enough has been seen; 10 s as the retry budget's window.
    public var halfLife = Duration.seconds(10)
    /// A quantile so many medians away is no tail: it lies at 4.3 for exponential times, 5.2 for lognormal ones with σ = 1.
    public var spreadMax = 8.0

    public init() {}
  }

  public enum Why: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    case learning, slowForAll, bimodal, crowded, shareUsedUp, budgetSpent

    /// The word used in events, logs and metrics.
    public var name: String {
      switch self {
      case .learning: "learning"
      case .slowForAll: "slow-for-all"
      case .bimodal: "bimodal"
      case .crowded: "crowded"
      case .shareUsedUp: "share-used-up"
      case .budgetSpent: "budget-spent"
      }
    }
  }

  public enum Plan: Sendable, Equatable, BitwiseCopyable {
    /// Ask `due` if there is no answer so many nanoseconds after the first attempt was sent.
    case after(Int64)
    case none(Why)
  }

  public enum Verdict: Sendable, Equatable, BitwiseCopyable {
    case send
    case keep(Why)
  }

  /// What can be saved up: a burst of ten hedges.
  private static let tokensMax = 10.0
  /// The weight of one call in the share that outlives the delay: about the last 128 count.
  private static let step = 1.0 / 128

  private let quantile: Double
  private let share: Double
  private let samplesMin: UInt64
  private let least: Int64
  private let fixed: Int64
  private let halfLife: Int64
  private let spreadMax: Double
  private var tally = Tally()
  private var tokens = 0.0
  private var halvedAt = Instant.zero
  private var readAt: Instant?
  /// The quantile and the median as last read, in nanoseconds.
  private var delay: Int64 = 0
  /// Half of the calls take longer, in nanoseconds; for whether a hedge could still end in time.
  public private(set) var median: Int64 = 0
  /// The median in calm: it falls at once and rises by a sixteenth a half-life.
  private var calm: Int64 = 0
  private var outliving = 0.0

  public init(_ settings: Settings = Settings()) {
    quantile = max(0, min(settings.quantile, 1))
    share = max(0, min(settings.share, 1))
    samplesMin = UInt64(max(1, settings.samplesMin))
    least = max(0, settings.least.inNanoseconds)
    fixed = max(0, settings.delay?.inNanoseconds ?? 0)
    halfLife = max(1, settings.halfLife.inNanoseconds)
    spreadMax = max(1, settings.spreadMax)
  }

  /// A call's first attempt is sent.
  public mutating func began(now: Instant) -> Plan {
    tokens = min(HedgeTrigger.tokensMax, tokens + share)
    outliving -= outliving * HedgeTrigger.step
    read(now: now)
    if let why = objection { return .none(why) }
    return .after(max(least, delay))
  }

  /// The delay is over and there is no answer; `isCrowded`: others wait for a place at this callee.
  ///
  /// After `send` the hedge counts, whatever becomes of it.
  public mutating func due(isCrowded: Bool, budget: inout RetryBudget, now: Instant) -> Verdict {
    let verdict = due(isCrowded: isCrowded)
    guard verdict == .send else { return verdict }
    guard budget.withdraw(now: now) else { return .keep(.budgetSpent) }
    sent()
    return .send
  }

  /// The same where the budget is somebody else's: with `send` ask it, and say `sent` if it agrees.
  public mutating func due(isCrowded: Bool) -> Verdict {
    outliving += HedgeTrigger.step
    if let why = objection { return .keep(why) }
    if isCrowded { return .keep(.crowded) }
    // The slack keeps twenty twentieths a whole token: their sum in binary is a little less.
    guard tokens >= 1 - 1e-9 else { return .keep(.shareUsedUp) }
    return .send
  }

  /// The hedge is sent: it counts against the share.
  public mutating func sent() { tokens = max(0, tokens - 1) }

  /// A call was answered, or ran out of time, so many nanoseconds after its first attempt was sent.
  ///
  /// What failed fast is not told: it would make the usual answer look late.
  public mutating func ended(latency: Int64, now: Instant) {
    tally.record(latency)
    if now.since(halvedAt) >= halfLife, tally.count >= 2 * samplesMin {
      refresh()
      calm = calm == 0 ? median : min(median, calm + max(1, calm / 16))
      tally.halve()
      halvedAt = now
    }
  }

  private var objection: Why? {
    if tally.count < samplesMin || delay == 0 { return .learning }
    if outliving > 3 * (1 - quantile) || calm > 0 && median > 2 * calm { return .slowForAll }
    if fixed == 0, Double(delay) > spreadMax * Double(median) { return .bimodal }
    return nil
  }

  /// Reads the tally at most a hundred times in a half-life: a look at 624 counters costs more than all the rest.
  private mutating func read(now: Instant) {
    if tally.count < samplesMin { return }
    if let readAt, now.since(readAt) < halfLife / 100 { return }
    readAt = now
    refresh()
  }

  private mutating func refresh() {
    delay = fixed > 0 ? fixed : tally.quantile(quantile) ?? 0
    median = tally.quantile(0.5) ?? 0
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if tokens < 0 || tokens > HedgeTrigger.tokensMax { return "\(tokens) tokens" }
    if outliving < 0 || outliving > 1 + 128 * HedgeTrigger.step { return "\(outliving) outlive the delay" }
    if fixed == 0, delay < median { return "the quantile \(delay) is below the median \(median)" }
    return nil
  }
}
