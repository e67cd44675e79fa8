// SPDX-License-Identifier: Apache-2.0

/// Every rule there is.
package enum Rules {
  /// Those that look at the design, in the order of their ids.
  static let checks: [any Rule.Type] = [
    BalanceKeyMissing.self, CallCycle.self, CertificateExpiry.self, ConnectionStorm.self, ConsumerWithoutDedup.self,
    DeadlineInversion.self, DrainTime.self, DualWrite.self,
    GRPCOverHTTP1.self, HedgeWithoutEffect.self,
    IdempotencyWithoutEffect.self, IdempotencyWithoutLimit.self,
    IdentityWithoutTLS.self, JSONLimitAboveBody.self, KeysWithoutTLS.self, LimitWithoutIdentity.self,
    LiteralSecret.self, NoDeadLetters.self, NoRequirements.self,
    OrderAcrossKeys.self, OverCapacity.self, PathFallsThrough.self, PriorityWithoutEffect.self,

    RetryAmplification.self, RetryUnsafeMethod.self,
    RouteShadowed.self, RouteTie.self, SagaStepWithoutUndo.self, SingleInstance.self, StickyWithoutNeed.self,
    SubsetWithoutInstance.self, UnsignedWebhook.self, UnverifiedUpstream.self, VisibilityBelowWork.self,
    WebhookInside.self,
    WideCORS.self, ZoneImbalance.self,
  ]

  /// All that can stand in brackets behind a finding, in the order of their ids.
  package static let all: [RuleInfo] =
    (checks.map { $0.info } + [Acceptances.expired, Acceptances.unknown, Acceptances.unused, UnknownTarget.info]).sorted
  { $0.id < $1.id }

  package static func info(_ id: String) -> RuleInfo? { all.first { $0.id == id } }
}
