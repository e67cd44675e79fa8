// SPDX-License-Identifier: Apache-2.0

/// What the calls of one loop have added to their edge's retry budget since the loop last told the node.
///
/// The budget is the node's, in ``NodeFlows``: a loop with few calls may spend what the others have earned, and the floor is
/// there once. First tries are counted here and told every 100 ms with the delta, and with each question for a retry, so
/// that what the asking loop knows is never missing; what other loops have not told yet only makes the budget smaller.
public struct BudgetTally: Sendable, Equatable, BitwiseCopyable {
  /// First tries made.
  public var firsts: UInt32 = 0
  /// First tries that are over, for a budget over concurrency; else 0.
  public var firstsEnded: UInt32 = 0
  /// Retries that are over, for a budget over concurrency; else 0.
  public var retriesEnded: UInt32 = 0

  public init() {}
}
