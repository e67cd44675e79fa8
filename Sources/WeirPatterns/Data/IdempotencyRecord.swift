// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Has a request with a key done once, however often it is sent, and gives every sender the same answer.
///
/// Source: IETF draft-ietf-httpapi-idempotency-key-header-07 (§2.2: one key, one request; §2.7: 400, 409, 422); Stripe's
/// API (answers kept for 24 h). The record of one key is kept by a store that survives crashes; who executes holds a
/// **lease**, so that an owner that died does not hold the key for ever.
///
///     (none) ──claim: execute──▶ executing ──complete──▶ done ──keep over──▶ (none)
///                 ▲                 │  │                    └─ claim: replay, or notKept
///                 │                 │  └─ claim by another: wait, until completed, released, or the lease is over
///                 └──── release ◀───┴─ lease over ─▶ claim: execute, by its own owner from now on
/// ## Invariants
/// 1. Of all claims on a record at most one holds a running lease.
/// 2. What is done stays the same until it is forgotten: a completion counts once, and only of the lease's owner.
/// 3. A claim with another fingerprint is never executed nor answered from this record, in whatever phase it is.
/// 4. A claim repeated by the owner itself (its first answer was lost on the way) gets `execute` again.
public struct IdempotencyRecord: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// How long what was done is remembered (Stripe: 24 h).
    public var keep = Duration.seconds(24 * 3600)
    /// A request without a key is refused.
    public var required = false
    /// The largest body of an answer that is kept; a larger one goes out, and is not there for a repeat.
    public var answer = 1 << 20
    /// What an execution may take beyond its request's timeout before its owner counts as dead: the time to read a
    /// body of `answer` bytes at 1.6 Mbit/s.
    public var margin = Duration.seconds(5)

    public init() {}

    /// The largest answer that can be kept: it is held in memory, in both processes, on its way.
    public static var answerMax: Int { 8 << 20 }
    /// Bytes of a key (Stripe's 255).
    public static var keyBytesMax: Int { 255 }
  }

  /// What tells one request from another: a digest (SHA-256) of all that must be the same.
  public struct Fingerprint: Sendable, Hashable, BitwiseCopyable {
    public var words: (UInt64, UInt64, UInt64, UInt64)

    public init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) { words = (a, b, c, d) }

    public static func == (a: Fingerprint, b: Fingerprint) -> Bool {
      a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2 && a.words.3 == b.words.3
    }

    public func hash(into hasher: inout Hasher) {
      hasher.combine(words.0)
      hasher.combine(words.1)
    }
  }

  /// Who executes: drawn at random for each request.
  public struct Owner: Sendable, Hashable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
      self.high = high
      self.low = low
    }
  }

  public struct Claim: Sendable, Equatable, BitwiseCopyable {
    public var fingerprint: Fingerprint
    public var owner: Owner
    /// Milliseconds that the execution may take.
    public var lease: Int64
    /// Milliseconds that the outcome is remembered.
    public var keep: Int64

    public init(fingerprint: Fingerprint, owner: Owner, lease: Int64, keep: Int64) {
      self.fingerprint = fingerprint
      self.owner = owner
      self.lease = lease
      self.keep = keep
    }
  }

  public enum Phase: Sendable, Equatable, BitwiseCopyable {
    case executing(Owner, until: WallTime)
    /// The owner is kept, so that its completion said twice is one.
    case done(Owner, isKept: Bool)
  }

  public enum Decision: Sendable, Equatable, BitwiseCopyable {
    /// Do it, and tell the outcome before `until`.
    case execute(until: WallTime)
    /// Give the answer that is kept.
    case replay
    /// It was done, and its answer was too large to be kept.
    case notKept
    /// Another does it; ask again when it has said how it ended, or at this moment.
    case wait(until: WallTime)
    /// The key was used for another request.
    case mismatch
  }

  public enum Settlement: Sendable, Equatable, BitwiseCopyable {
    case stored
    /// The same was said before.
    case already
    /// The lease was over and another has it, or the record is gone: what was said does not count.
    case lost
  }

  public let fingerprint: Fingerprint
  public private(set) var phase: Phase
  /// The record is as good as gone from here on.
  public private(set) var forgetAt: WallTime
  private var keep: Int64

  /// As it was stored.
  public init(fingerprint: Fingerprint, phase: Phase, forgetAt: WallTime, keep: Int64) {
    self.fingerprint = fingerprint
    self.phase = phase
    self.forgetAt = forgetAt
    self.keep = keep
  }

  /// Milliseconds that the outcome is remembered, as its execution was claimed with.
  public var keepMilliseconds: Int64 { keep }

  // MARK: Inputs

  /// What becomes of a request with this key; `record` is what is stored of it, and is to be stored again when changed.
  public static func claim(_ record: inout IdempotencyRecord?, _ claim: Claim, now: WallTime) -> Decision {
    if let stored = record, now < stored.forgetAt {
      if stored.fingerprint != claim.fingerprint { return .mismatch }
      switch stored.phase {
      case .done(_, let isKept): return isKept ? .replay : .notKept
      case .executing(let owner, let until):
        if owner != claim.owner && now < until { return .wait(until: until) }
      }
    }
    let until = now.later(by: claim.lease)
    record = IdempotencyRecord(
      fingerprint: claim.fingerprint, phase: .executing(claim.owner, until: until),
      forgetAt: until.later(by: claim.keep), keep: claim.keep)
    return .execute(until: until)
  }

  /// The execution has an answer; `isKept`: it is stored with the record.
  ///
  /// A lease that is over still counts while nobody else has taken it: better a late answer than a second execution.
  public mutating func complete(by owner: Owner, isKept: Bool, now: WallTime) -> Settlement {
    switch phase {
    case .done(owner, _): return .already
    case .executing(owner, _):
      phase = .done(owner, isKept: isKept)
      forgetAt = now.later(by: keep)
      return .stored
    case .executing, .done: return .lost
    }
  }

  /// Whether the owner's giving up ends the record: nothing was done, or nobody can say, and a repeat executes again.
  public func isReleased(by owner: Owner) -> Bool {
    if case .executing(owner, _) = phase { return true }
    return false
  }

  /// Whether an answer with this status is an outcome to be kept.
  ///
  /// Not kept, so that a repeat is tried again: 5xx (nobody can say what was done), and what says "not now": 408, 425, 429.
  public static func keeps(status: UInt16) -> Bool {
    status >= 200 && status < 500 && status != 408 && status != 425 && status != 429
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if keep < 0 { return "kept for \(keep) ms" }
    if case .executing(_, let until) = phase, forgetAt < until { return "forgotten before its lease is over" }
    return nil
  }
}

extension WallTime {
  fileprivate func later(by milliseconds: Int64) -> WallTime {
    let (sum, overflow) = self.milliseconds.addingReportingOverflow(max(0, milliseconds))
    return WallTime(milliseconds: overflow ? .max : sum)
  }
}
