// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// What the driver of a call is to do now.
///
/// One action an input; trivial.
public enum CallAction: Sendable, Equatable, BitwiseCopyable {
  /// Nothing; the call goes on as it is.
  case none
  /// Reserve a place on this instance, connect or take a pooled connection, send the request.
  ///
  /// If the place cannot be had, feed `full`. `number` counts from 1; the driver sends `Weir-Retries: taken` always,
  /// for whoever is called must not retry what is retried here.
  case attempt(instance: UInt16, number: UInt8)
  /// The same beside the attempt under way, on another instance; inputs about it say which instance they are about.
  ///
  /// Whoever answers first is relayed.
  case hedge(instance: UInt16, number: UInt8)
  /// Find out what only the node knows, then feed `permit`.
  case ask(Question)
  /// Nothing until `nextWake`, or until `turn` hands this call a place.
  case wait
  /// Relay the attempt's answer to the caller: it is committed, nothing is retried from here on.
  case answer
  /// The answer was relayed whole. The call is over.
  case finish
  /// Answer in our own name. The call is over.
  case refuse(Reason, until: Instant)
  /// Give the fallback in the callee's stead, and say why. The call is over.
  case fallback(Reason)
  /// The answer has begun and cannot go on: cut the caller's connection. The call is over.
  case abort(Reason)

  /// What needs more than this loop knows.
  public enum Question: Sendable, Equatable, BitwiseCopyable {
    /// A permit to probe an instance whose breaker has rested.
    case probeInstance(UInt16)
    /// A permit to probe the callee, whose breaker has rested.
    case probeService
    /// A place among the calls of this edge, which are limited.
    case place
    /// A retry on the node's budget, and what this loop has not told of it yet (``NodeFlows/retry(edge:_:now:)``).
    case retry(BudgetTally)
  }
}

/// An action, and what became free with it.
public struct CallStep: Sendable, Equatable, BitwiseCopyable {
  public var action: CallAction
  /// The attempt on this instance is over: give its place back.
  ///
  /// ``nobody`` when none is. Of two attempts it may be either; the call goes on with the other one.
  public var freed: UInt16
  /// The attempt that is over is still under way at the callee: close its connection.
  public var cancels: Bool
  /// The call is over and held a place of its edge: give it back.
  public var freesEdge: Bool
  /// The attempt beside it, on this instance, is over as well: give its place back and close its connection.
  ///
  /// ``nobody`` when there is none.
  public var loser: UInt16
  /// Something was decided about another call of this edge: ask for a `turn`.
  public var turns: Bool

  public static var nobody: UInt16 { .max }

  public init(
    _ action: CallAction, freed: UInt16 = CallStep.nobody, cancels: Bool = false, freesEdge: Bool = false,
    loser: UInt16 = CallStep.nobody, turns: Bool = false
  ) {
    self.action = action
    self.freed = freed
    self.cancels = cancels
    self.freesEdge = freesEdge
    self.loser = loser
    self.turns = turns
  }

  /// The call is over with this step; its slot is stale from now on.
  @inlinable
  public var isLast: Bool {
    switch action {
    case .finish, .refuse, .fallback, .abort: true
    case .none, .attempt, .hedge, .ask, .wait, .answer: false
    }
  }
}
