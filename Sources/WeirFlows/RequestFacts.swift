// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What a flow knows of a request: numbers only.
///
/// Made by the driver (scanner, traffic model); trivial, at most 64 bytes.
///
/// No flow sees bytes, strings, header fields, sockets or closures.
public struct RequestFacts: Sendable, Equatable, BitwiseCopyable {
  /// The route's dense id; ``none`` for a call that came through no route.
  public var route: UInt32
  /// A keyed hash of the client's address or identity: what limits count by.
  public var client: UInt64
  /// The caller's address is none of those that its route takes.
  public var isOutside = false
  /// Which share of a split it falls into: the key that its client was given, else a random number; 0 where nothing is split.
  public var draw: UInt64 = 0
  /// A keyed hash of what keeps it at one instance (a header, a cookie, its client); 0 for nothing.
  public var affinity: UInt64 = 0
  /// When the caller stops waiting; `distantFuture` when it did not say.
  public var deadline: Instant
  public var method: RetryRule.Method
  public var body: RetryRule.Body
  /// An outer hop retries this request already (`Weir-Retries: taken`): this one does not.
  public var outerRetries: Bool
  /// Something else can be answered when the call fails: the route says so, and what it needs is at hand.
  public var hasFallback = false
  /// The instance that its cookie names.
  public var home = CallStep.nobody

  /// What is known of its idempotency key.
  public var key = Key.notAsked

  public enum Key: UInt8, Sendable, BitwiseCopyable {
    /// The route keeps no records, or the method needs none.
    case notAsked
    case missing
    case malformed
    case present
  }

  public static var none: UInt32 { .max }

  public init(
    route: UInt32 = RequestFacts.none, client: UInt64 = 0, deadline: Instant = .distantFuture,
    method: RetryRule.Method = .safe, body: RetryRule.Body = .none, outerRetries: Bool = false
  ) {
    self.route = route
    self.client = client
    self.deadline = deadline
    self.method = method
    self.body = body
    self.outerRetries = outerRetries
  }
}
