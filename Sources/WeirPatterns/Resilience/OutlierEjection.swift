// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Decides which of the instances in doubt are really left out of rotation, so that caution never empties it.
///
/// Source: Envoy's outlier detection (success-rate ejection, growing ejection times) and its panic threshold. Doubt comes
/// from three sides, and they are not the same:
///
///     down      its process ended or its health check fails: told by someone who looked
///     suspect   its breaker is not closed: told by traffic, which a shared fault of the callee's callee also shows
///     outlier   its success rate is far below its peers': told here, by counting
///
///     down ───────────────────────────────────────▶ out   (unless too few would be left: then all serve)
///     suspect or outlier ──at most half of the rest──▶ out   (more than half of the rest in doubt: the rest serves whole)
///
/// Why down ones do not come back when a few are left: a call to a dead instance is a failed attempt for certain, and the
/// retry budget (20 %) cannot pay for two thirds of first tries. What overload the survivors get, their limit on
/// requests at once and the bounded queue shed. Envoy lets all serve when less than half are healthy, as it has no such
/// limits by default; `panic` asks for that.
///
/// ## Invariants
/// 1. There is always an instance in rotation; the last one is never left out.
/// 2. Suspects and outliers left out are at most max(1, `shareMax` of those not down), and never all of those not down.
/// 3. When more than `everyoneAbove` of those not down are in doubt, all of those not down serve.
/// 4. Who is in nobody's doubt is in rotation.
public struct OutlierEjection: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// The share of the instances that are not down that may be left out on suspicion; always at least one.
    public var shareMax = 0.5
    /// When a larger share than this of those not down is in doubt, the doubt is not about the instance: all serve.
    public var everyoneAbove = 0.5
    /// When a smaller share than this is not down, the down ones serve too.
    ///
    /// Zero: only when all are down.
    public var panic = 0.0
    /// How many standard deviations below the mean success rate makes an outlier.
    ///
    /// Envoy's 1900 ÷ 1000.
    public var successRateFactor = 1.9
    /// Success rates are compared only among at least so many instances with enough calls.
    ///
    /// Envoy's.
    public var hostsMin = 5
    /// Calls in an interval before an instance's rate is compared.
    ///
    /// Envoy's.
    public var volumeMin = 100
    /// How long success rates are counted before they are compared.
    ///
    /// Envoy's.
    public var interval = Duration.seconds(10)
    /// How long the first ejection of an outlier lasts; each further one lasts once more longer.
    ///
    /// Envoy's.
    public var base = Duration.seconds(30)
    /// The longest ejection.
    ///
    /// Envoy's.
    public var max = Duration.seconds(300)

    public init() {}

    /// Envoy's defaults: at most 10 % ejected, panic below 50 % healthy.
    public static var envoy: Settings {
      var settings = Settings()
      settings.shareMax = 0.1
      settings.everyoneAbove = 1
      settings.panic = 0.5
      return settings
    }
  }

  public struct Decision: Sendable, Equatable {
    /// By instance: left out of rotation.
    public var out: [Bool]
    /// More are in doubt than may be left out, so the doubt is set aside: breakers of instances are not asked either.
    public var everyone: Bool
    /// Too few are not down, so the down ones serve too.
    public var panic: Bool

    public init(out: [Bool], everyone: Bool, panic: Bool = false) {
      self.out = out
      self.everyone = everyone
      self.panic = panic
    }
  }

  private struct Instance: Sendable, Equatable, BitwiseCopyable {
    var successes: UInt32 = 0
    var failures: UInt32 = 0
    /// How many times in a row it was an outlier; falls by one for each interval it was not.
    var ejections: Int32 = 0
    /// While it is an outlier; `.zero`: it is none.
    var until = Instant.zero
    /// Left out at the last decision: who is out stays out before another goes.
    var isOut = false
  }

  private let shareMax: Double
  private let everyoneAbove: Double
  private let panic: Double
  private let factor: Double
  private let hostsMin: Int
  private let volumeMin: UInt32
  private let interval: Int64
  private let base: Int64
  private let max: Int64
  private var instances: [Instance]
  private var intervalEnds: Instant

  public init(instances count: Int, _ settings: Settings = Settings(), now: Instant = .zero) {
    shareMax = Swift.min(Swift.max(0, settings.shareMax), 1)
    everyoneAbove = Swift.min(Swift.max(0, settings.everyoneAbove), 1)
    panic = Swift.min(Swift.max(0, settings.panic), 1)
    factor = Swift.max(0, settings.successRateFactor)
    hostsMin = Swift.max(2, settings.hostsMin)
    volumeMin = UInt32(clamping: Swift.max(1, settings.volumeMin))
    interval = Swift.max(1, settings.interval.inNanoseconds)
    base = Swift.max(0, settings.base.inNanoseconds)
    max = Swift.max(base, settings.max.inNanoseconds)
    instances = [Instance](repeating: Instance(), count: Swift.max(0, count))
    intervalEnds = now.advanced(by: interval)
  }

  // MARK: Asking

  public var count: Int { instances.count }

  /// Whether its success rate keeps it in doubt.
  public func isOutlier(_ instance: Int, now: Instant) -> Bool { instances[instance].until > now }

  /// When a decision could change by itself: an interval ends, or an ejection.
  public var nextWake: Instant {
    var first = intervalEnds
    for instance in instances where instance.until > .zero { first = Swift.min(first, instance.until) }
    return first
  }

  // MARK: Inputs

  /// More or fewer instances; those that stay keep what is known of them.
  public mutating func resize(to count: Int) {
    if count < instances.count { instances.removeLast(instances.count - Swift.max(0, count)) }
    while instances.count < count { instances.append(Instance()) }
  }

  /// The same under other indexes: `from` says, by new index, which instance it was; nil is a new one.
  public func rearranged(_ from: [Int?]) -> OutlierEjection {
    var new = self
    new.instances = from.map { $0.map { instances[$0] } ?? Instance() }
    return new
  }

  /// Another process serves under this index: what was counted was about the one before it.
  public mutating func forget(_ instance: Int) { instances[instance] = Instance() }

  /// Results of attempts on an instance, as loops post them.
  public mutating func report(_ instance: Int, successes: Int, failures: Int) {
    instances[instance].successes &+= UInt32(clamping: successes)
    instances[instance].failures &+= UInt32(clamping: failures)
  }

  /// Who serves, when nobody is down for certain.
  public mutating func decide(suspects: [Bool], now: Instant) -> Decision {
    decide(down: [Bool](repeating: false, count: instances.count), suspects: suspects, now: now)
  }

  /// Who serves.
  ///
  /// The lists are by instance; what they do not cover is taken as false. `absent` are no instances at present: there is
  /// nobody, or somebody has taken it out of use; they are out, whatever else is so, and counted nowhere.
  public mutating func decide(down: [Bool], suspects: [Bool], absent: [Bool] = [], now: Instant) -> Decision {
    compareRates(now: now)
    let n = instances.count
    var decision = Decision(out: [Bool](repeating: false, count: n), everyone: false)
    for i in absent.indices where i < n { decision.out[i] = absent[i] }
    let down = (0..<n).map { $0 < down.count && down[$0] || decision.out[$0] }
    var up = 0
    var present = 0
    for i in 0..<n where !decision.out[i] {
      present += 1
      if !down[i] { up += 1 }
    }
    if up < present && (up == 0 || Double(up) < panic * Double(present)) {
      decision.panic = true
      decision.everyone = true
      for i in 0..<n { instances[i].isOut = false }
      return decision
    }
    var doubtful = 0
    for i in 0..<n where !(i < down.count && down[i]) && isInDoubt(i, suspects, now) { doubtful += 1 }
    decision.everyone = doubtful == up && up > 0 || Double(doubtful) > everyoneAbove * Double(up) + 1e-9
    if doubtful == 1 && up > 1 { decision.everyone = false }
    var allowed = 0
    if !decision.everyone && up > 1 {
      allowed = Swift.min(Swift.max(1, Int(shareMax * Double(up) + 1e-9)), up - 1)
    }
    // Those already out first, then by index: who is left out does not change while the doubt stays the same.
    for pass in 0..<2 {
      for i in 0..<n where !(i < down.count && down[i]) && isInDoubt(i, suspects, now) {
        guard allowed > 0 && !decision.out[i] && instances[i].isOut == (pass == 0) else { continue }
        decision.out[i] = true
        allowed -= 1
      }
    }
    for i in 0..<n {
      if i < down.count && down[i] { decision.out[i] = true }
      instances[i].isOut = decision.out[i] && !(i < absent.count && absent[i])
    }
    return decision
  }

  private func isInDoubt(_ i: Int, _ suspects: [Bool], _ now: Instant) -> Bool {
    (i < suspects.count && suspects[i]) || instances[i].until > now
  }

  // MARK: Success rates

  /// At the end of an interval: whose success rate is `factor` standard deviations below the mean is an outlier.
  private mutating func compareRates(now: Instant) {
    guard now >= intervalEnds else { return }
    var hosts = 0
    var sum = 0.0
    for instance in instances {
      guard let rate = rate(of: instance) else { continue }
      hosts += 1
      sum += rate
    }
    var threshold = -1.0
    if hosts >= hostsMin {
      let mean = sum / Double(hosts)
      var squares = 0.0
      for instance in instances {
        guard let rate = rate(of: instance) else { continue }
        squares += (rate - mean) * (rate - mean)
      }
      threshold = mean - factor * (squares / Double(hosts)).squareRoot()
    }
    for i in instances.indices {
      let rate = rate(of: instances[i])
      instances[i].successes = 0
      instances[i].failures = 0
      if let rate, rate < threshold {
        instances[i].ejections = Swift.min(instances[i].ejections + 1, 1_000_000)
        let (grown, overflow) = base.multipliedReportingOverflow(by: Int64(instances[i].ejections))
        instances[i].until = now.advanced(by: overflow ? max : Swift.min(max, grown))
      } else if instances[i].until <= now {
        instances[i].until = .zero
        instances[i].ejections = Swift.max(0, instances[i].ejections - 1)
      }
    }
    intervalEnds = now.advanced(by: interval)
  }

  private func rate(of instance: Instance) -> Double? {
    let calls = Double(instance.successes) + Double(instance.failures)
    return calls >= Double(volumeMin) ? Double(instance.successes) / calls : nil
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if !instances.isEmpty && instances.allSatisfy(\.isOut) { return "all \(instances.count) instances are out" }
    for (i, instance) in instances.enumerated() {
      if instance.ejections < 0 { return "instance \(i) was ejected \(instance.ejections) times" }
      if instance.until > .zero && instance.ejections == 0 {
        return "instance \(i) is an outlier that never was ejected"
      }
    }
    return nil
  }
}
