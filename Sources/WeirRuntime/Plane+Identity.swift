// SPDX-License-Identifier: Apache-2.0
import WeirIdentity
import WeirProxy
import WeirTelemetry

/// What identities answered, how their keys stand, and requests by tenant.
extension Plane {
  func identityFamilies() -> [Snapshot.Family] {
    guard let gate = server?.configuration.access?.gate else { return [] }
    var answers = Snapshot.Family(
      "weir_identity_answers_total", .counter, "What identities said of callers, by identity and answer.")
    var remembered = Snapshot.Family(
      "weir_identity_remembered_total", .counter, "Callers that were known from memory, without a signature check.")
    var keys = Snapshot.Family("weir_identity_keys", .gauge, "Public keys of an issuer that can be used.")
    var failures = Snapshot.Family(
      "weir_identity_key_fetch_failures_total", .counter, "Times that an issuer's keys could not be fetched.")
    var fetched = Snapshot.Family(
      "weir_identity_keys_fetched_timestamp_seconds", .gauge, "When an issuer's keys were last fetched; 0 for never.")
    let stores = gate.keyStores
    for (index, tally) in gate.tally.enumerated() {
      let name = gate.identities[index].name
      for (answer, count) in [
        ("known", tally.known), ("invalid", tally.invalid), ("replayed", tally.replayed), ("refused", tally.refused),
        ("unavailable", tally.unavailable),
      ] {
        answers.add([("identity", name), ("answer", answer)], Double(count))
      }
      remembered.add([("identity", name)], Double(tally.remembered))
      guard let standing = stores[index]?.standing else { continue }
      keys.add([("identity", name)], Double(standing.keys))
      failures.add([("identity", name)], Double(standing.failures))
      fetched.add([("identity", name)], Double(standing.fetchedAt))
    }
    var families = [answers, remembered]
    if stores.contains(where: { $0 != nil }) { families += [keys, failures, fetched] }
    let tenants = gate.tenantRequests
    if !tenants.isEmpty {
      var requests = Snapshot.Family(
        "weir_tenant_requests_total", .counter, "Requests of callers that an identity knows, by declared tenant.")
      for (name, count) in tenants { requests.add([("tenant", name)], Double(count)) }
      families.append(requests)
    }
    return families
  }
}
