// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// One holder at a time of a thing with a name; who stops answering loses it, and can do no harm with it afterwards.
///
/// Source: Gray and Cheriton, *Leases* (SOSP 1989); the token that fences off: Chubby (Burrows, OSDI 2006) §2.4, Kleppmann,
/// *How to do distributed locking* (2016); the lengths: Kubernetes' leader election (15 s, a try each third of it).
///
///     free ──acquire: held, token + 1──▶ held ──renew──▶ held, longer
///       ▲                                 │ until + margin is over: whoever asks has it, token + 1
///       └────────── release ◀─────────────┘
/// Three values: this one, the record that a store keeps and changes in one transaction; ``Hold``, what the holder knows by
/// its own clock; ``Fence``, at whatever is written to. **No lease alone keeps two from writing**: a holder may be stopped for
/// a minute between its look at the clock and its write. So each write carries the token, and the fence refuses old ones.
///
/// ## Invariants
/// 1. A token is given to one owner only, and each later one is greater.
/// 2. Two do not hold it at once, as long as no clock is off by more than `margin` in `length`.
/// 3. Whatever the clocks do: after a write with a token, none with a smaller one is admitted.
/// 4. An owner that asks again (its answer was lost) has the same token.
public struct Lease: Sendable, Hashable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// How long it holds without being renewed.
    public var length = Duration.seconds(15)
    /// How much longer the record waits before another has it: what clocks may be off by in `length`.
    public var margin = Duration.seconds(1)

    public init() {}
  }

  /// Who: drawn at random by each process at its start.
  public typealias Owner = IdempotencyRecord.Owner

  public enum Acquisition: Sendable, Equatable, BitwiseCopyable {
    case held(token: UInt64)
    /// Another has it; not before this moment does asking again make sense.
    case taken(until: WallTime)
  }

  /// Nil: it is free.
  public private(set) var owner: Owner?
  /// Of the holder, or of the last one; 0: there was none.
  public private(set) var token: UInt64
  /// By the store's clock.
  public private(set) var until: WallTime

  public init() {
    owner = nil
    token = 0
    until = WallTime(milliseconds: 0)
  }

  /// As it was stored.
  public init(owner: Owner?, token: UInt64, until: WallTime) {
    self.owner = owner
    self.token = token
    self.until = until
  }

  // MARK: Inputs

  /// Somebody wants it.
  ///
  /// One's own lease that is over comes back under a new token: what was begun under the old one is fenced off.
  public mutating func acquire(by asking: Owner, now: WallTime, _ settings: Settings = Settings()) -> Acquisition {
    if let owner {
      let free = until.later(byMilliseconds: Lease.milliseconds(settings.margin))
      if owner != asking && now < free { return .taken(until: free) }
      if owner == asking && now < until {
        until = now.later(byMilliseconds: Lease.milliseconds(settings.length))
        return .held(token: token)
      }
    }
    owner = asking
    token += 1
    until = now.later(byMilliseconds: Lease.milliseconds(settings.length))
    return .held(token: token)
  }

  /// The holder goes on; false when it no longer is the holder: it stops at once.
  public mutating func renew(by asking: Owner, token: UInt64, now: WallTime, _ settings: Settings = Settings()) -> Bool
  {
    guard owner == asking && token == self.token && now < until else { return false }
    until = now.later(byMilliseconds: Lease.milliseconds(settings.length))
    return true
  }

  /// The holder has stopped, and wants no more; false when it was not the holder.
  public mutating func release(by asking: Owner, token: UInt64) -> Bool {
    guard owner == asking && token == self.token else { return false }
    owner = nil
    return true
  }

  private static func milliseconds(_ duration: Duration) -> Int64 { max(0, duration.inNanoseconds / 1_000_000) }

  /// What is wrong with this state, or nil.
  public func violation() -> String? { owner != nil && token == 0 ? "held without a token" : nil }
}

extension Lease {
  /// What a holder knows, by its own monotonic clock.
  public struct Hold: Sendable, Hashable, BitwiseCopyable {
    public let token: UInt64
    private var asked: Instant
    private let length: Int64

    /// `asked` is when the request was **sent**: the record's time began later, so this ends before it.
    public init(token: UInt64, asked: Instant, _ settings: Settings = Settings()) {
      self.token = token
      self.asked = asked
      length = max(0, settings.length.inNanoseconds)
    }

    public var until: Instant { asked.advanced(by: length) }

    /// When to renew: after a third, so that two may be lost.
    public var nextWake: Instant { asked.advanced(by: length / 3) }

    /// Whether it is held now, and for as long as something takes that is begun now.
    public func isHeld(now: Instant, for length: Duration = .zero) -> Bool {
      now.advanced(by: max(0, length.inNanoseconds)) < until
    }

    /// A renewal that was sent then has been granted.
    public mutating func renewed(asked: Instant) { self.asked = max(self.asked, asked) }
  }

  /// At what is written to: refuses the token of a holder that was replaced by one that has written.
  public struct Fence: Sendable, Hashable, BitwiseCopyable {
    public private(set) var highest: UInt64

    public init(highest: UInt64 = 0) { self.highest = highest }

    /// Whether a write with this token may be done; in the same transaction as the write.
    public mutating func admit(_ token: UInt64) -> Bool {
      if token < highest { return false }
      highest = token
      return true
    }
  }
}
