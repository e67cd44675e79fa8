// SPDX-License-Identifier: Apache-2.0

/// Says which requests are also sent to the mirror: a fixed share, always the same ones.
///
/// Source: deterministic sampling by a hash, as trace samplers do it (OpenTelemetry `TraceIdRatioBased`). All nodes
/// agree on a request, a retried request is mirrored again or not again, and the simulator mirrors what the proxy would.
///
/// ## Invariants
/// 1. What is mirrored at a share is mirrored at every greater share.
/// 2. 0 mirrors nothing, 1 everything.
public struct MirrorShare: Sendable, Equatable, BitwiseCopyable {
  private let share: Double
  private let salt: UInt64

  /// `share` 0 … 1; `salt` is of the route, so that mirrors of two routes do not take the same clients.
  public init(share: Double, salt: UInt64) {
    self.share = share.isNaN ? 0 : min(1, max(0, share))
    self.salt = KeyedHash.mix(~salt)
  }

  /// `hash` is of the request: its id, or the client's key if all requests of a client shall go together.
  public func takes(_ hash: UInt64) -> Bool { KeyedHash.falls(KeyedHash.mix(hash ^ salt), within: share) }
}
