// SPDX-License-Identifier: Apache-2.0
import WeirFlows

/// The attempts at a service's instances, by zone.
struct ZoneRequests {
  /// By zone, in the order of the file; what stands nowhere is in none.
  var byZone: [UInt64]
  /// Attempts outside the zone that Weir stands in; nil when nobody says which that is.
  var spilled: UInt64?

  init(_ ledger: Ledger, service: Int, _ zones: Names.Zones) {
    byZone = [UInt64](repeating: 0, count: zones.names.count)
    var away: UInt64 = 0
    for (zone, counted) in zip(zones.ofInstance, ledger.instances(of: service)) {
      if let zone { byZone[zone] += counted.attempts }
      if zone != zones.own { away += counted.attempts }
    }
    spilled = zones.own == nil ? nil : away
  }
}
