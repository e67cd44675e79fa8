// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Something rare that changed what happens to requests; the same under simulator and runtime.
///
/// 32 bytes at most.
public struct Event: Sendable, Equatable, BitwiseCopyable {
  public enum Kind: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    /// A breaker let nothing through any more; `until` says how long it rests.
    case breakerOpened
    /// A breaker's rest is over and a probe is out.
    case breakerProbing
    /// A breaker lets calls through again.
    case breakerClosed
    /// An instance was taken out of rotation for its answers.
    case instanceEjected
    /// An ejected instance is back in rotation.
    case instanceReturned
    /// An instance passed its readiness check.
    case instanceReady
    /// An instance failed its readiness check.
    case instanceUnready
    /// More than half of the instances are bad: all of them serve.
    case everyoneServes
    /// Half or more are well again: the bad ones are left out again.
    case everyoneServesEnded
    /// The retry budget was used up and a retry was not made. Told once until a retry is made again.
    case retryBudgetSpent
    /// An optional call failed and its fallback was given. Told once until the call succeeds again.
    case fallbackBegan
    /// The optional call succeeds again.
    case fallbackEnded
    /// A program was started.
    case instanceStarted
    /// A program ended without being asked to.
    case instanceExited
    /// The name of a service's instances has no answer. Told once until it has one.
    case nameUnresolved
    /// The name has an answer again.
    case nameResolved

    public var name: StaticString {
      switch self {
      case .breakerOpened: "breaker-opened"
      case .breakerProbing: "breaker-probing"
      case .breakerClosed: "breaker-closed"
      case .instanceEjected: "instance-ejected"
      case .instanceReturned: "instance-returned"
      case .instanceReady: "instance-ready"
      case .instanceUnready: "instance-unready"
      case .everyoneServes: "everyone-serves"
      case .everyoneServesEnded: "everyone-serves-ended"
      case .retryBudgetSpent: "retry-budget-spent"
      case .fallbackBegan: "fallback-began"
      case .fallbackEnded: "fallback-ended"
      case .instanceStarted: "instance-started"
      case .instanceExited: "instance-exited"
      case .nameUnresolved: "name-unresolved"
      case .nameResolved: "name-resolved"
      }
    }
  }

  public var at: Instant
  /// When what began will end at the earliest; `zero` where that means nothing.
  public var until: Instant
  public var kind: Kind
  public var reason: Reason
  /// The callee's instance, or ``CallStep/nobody`` when the callee as a whole is meant.
  public var instance: UInt16
  /// Index into the plan's edges; ``RequestFacts/none`` where a service is meant.
  public var edge: UInt32
  /// Index into the plan's services.
  public var service: UInt32

  public init(
    _ kind: Kind, at: Instant, edge: UInt32 = RequestFacts.none, service: UInt32 = RequestFacts.none,
    instance: UInt16 = CallStep.nobody, until: Instant = .zero, reason: Reason = .none
  ) {
    self.at = at
    self.until = until
    self.kind = kind
    self.reason = reason
    self.instance = instance
    self.edge = edge
    self.service = service
  }
}

/// Events in the order they came, bounded; what does not fit is counted.
public struct EventLog: Sendable, Equatable {
  public private(set) var events: [Event] = []
  /// How many were dropped since the last `take`.
  public private(set) var lost = 0
  public let limit: Int

  public init(limit: Int = 1024) { self.limit = limit }

  public mutating func append(_ event: Event) {
    if events.count < limit { events.append(event) } else { lost += 1 }
  }

  /// Hands out what has come and begins anew.
  public mutating func take() -> (events: [Event], lost: Int) {
    defer {
      events.removeAll(keepingCapacity: true)
      lost = 0
    }
    return (events, lost)
  }
}
