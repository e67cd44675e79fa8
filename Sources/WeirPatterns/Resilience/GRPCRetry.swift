// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// gRPC's rules for trying again: by status code, within a bucket of tokens, and when the server says so.
///
/// Source: gRFC A6, *gRPC Retry Design* (2017). The waits are ``Backoff/Settings/grpcRetry(first:max:factor:)``.
///
///     failed ──pushback: never, or unreadable──▶ keep       tokens: a failure takes 1, a success adds `tokenRatio`;
///       │ code not listed, committed, used up ──▶ keep              more than half of `tokensMax`: retry
///       └──tokens left──▶ retry after the pushback, or the backoff
///
/// What gRPC does not know is kept from ``RetryRule``: nothing is repeated when an outer hop repeats, or when the body is
/// gone. Methods are not looked at: a service that lists codes says that its methods can be repeated (A6).
///
/// ## Invariants
/// 1. At most five attempts, whatever the settings say (A6, *Maximum Number of Retries*).
/// 2. 0 ≤ tokens ≤ `tokensMax`; at or below half of it nothing is retried.
/// 3. After the first response header or message nothing is retried.
public struct GRPCRetry: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// Attempts in all, the first included; 2 to 5.
    public var attempts = 3
    /// `retryableStatusCodes`, as bits; UNAVAILABLE (14), the only one that says "try again" (gRPC's code guide).
    public var codes: [UInt8] = [14]
    /// `maxTokens` of `retryThrottling`; 10 is A6's example.
    public var tokensMax = 10.0
    /// `tokenRatio`: three digits behind the point count.
    public var tokenRatio = 0.1

    public init() {}
  }

  /// The trailer `grpc-retry-pushback-ms`.
  public enum Pushback: Sendable, Equatable, BitwiseCopyable {
    case absent
    /// Retry after so many milliseconds, and begin the backoff anew.
    case after(milliseconds: Int64)
    /// Do not retry: it was negative or no number.
    case never

    /// What the trailer says; nil when there is none.
    public static func parsing(_ value: Span<UInt8>) -> Pushback {
      // Ten digits are 115 days; what is longer is not meant.
      guard value.count >= 1, value.count <= 10 else { return .never }
      var milliseconds: Int64 = 0
      for index in 0..<value.count {
        let digit = value[index] &- 0x30
        guard digit <= 9 else { return .never }
        milliseconds = milliseconds * 10 + Int64(digit)
      }
      return .after(milliseconds: milliseconds)
    }
  }

  public enum Verdict: Sendable, Equatable, BitwiseCopyable {
    /// Wait so many nanoseconds; nil: what the backoff says.
    case retry(after: Int64?)
    case keep(RetryRule.Why)
  }

  public let attemptsMax: Int
  private let codes: UInt32
  private let most: Int64
  private let ratio: Int64
  /// In thousandths.
  private var thousandths: Int64

  public init(_ settings: Settings = Settings()) {
    attemptsMax = max(1, min(settings.attempts, 5))
    var bits: UInt32 = 0
    // 0 is success.
    for code in settings.codes where code > 0 && code <= 16 { bits |= 1 << UInt32(code) }
    codes = bits
    most = Int64((max(0, min(settings.tokensMax, 1000)) * 1000).rounded())
    ratio = Int64((max(0, min(settings.tokenRatio, 1000)) * 1000).rounded(.down))
    thousandths = most
  }

  /// What is in the bucket.
  public var tokens: Double { Double(thousandths) / 1000 }

  /// True while the bucket allows no retry.
  public var isThrottled: Bool { 2 * thousandths <= most }

  /// A call ended well.
  public mutating func succeeded() { thousandths = min(most, thousandths + ratio) }

  /// An attempt ended with a code other than 0.
  public mutating func judge(code: UInt8, pushback: Pushback = .absent, _ facts: RetryRule.Facts) -> Verdict {
    let isListed = code <= 16 && codes >> UInt32(code) & 1 == 1
    // A failure of the listed kind, or a server that says "not again": both tell that it has too much to do.
    if isListed || pushback == .never { thousandths = max(0, thousandths - 1000) }
    if !isListed || pushback == .never { return .keep(.status) }
    if facts.committed { return .keep(.committed) }
    if facts.sent != .nothing, facts.body == .streaming { return .keep(.body) }
    if facts.outerRetries { return .keep(.outerRetries) }
    if facts.attempts >= attemptsMax { return .keep(.attemptsUsedUp) }
    if isThrottled { return .keep(.budgetSpent) }
    if case .after(let milliseconds) = pushback {
      let (nanoseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
      return .retry(after: overflow ? .max : nanoseconds)
    }
    return .retry(after: nil)
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if thousandths < 0 || thousandths > most { return "\(tokens) tokens in a bucket of \(Double(most) / 1000)" }
    if codes & 1 == 1 { return "success would be retried" }
    return nil
  }
}

extension Backoff.Settings {
  /// gRFC A6: min(first · factor^(n−1), max) · U(0.8, 1.2) before the n-th retry.
  public static func grpcRetry(first: Duration, max: Duration, factor: Double) -> Backoff.Settings {
    var settings = Backoff.Settings()
    settings.kind = .around
    settings.first = first
    settings.max = max
    settings.factor = factor
    settings.jitter = 0.2
    return settings
  }
}
