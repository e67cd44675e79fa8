// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows

/// Who the caller is: asked of the identities that the flow names, one after another.
extension ClientConnection {
  /// What an identity says of the request whose head stands at the start of `input`; nil when the answer comes later.
  func ask(identity: Int, now: Instant) -> IdentityAnswer? { .unavailable }
}
