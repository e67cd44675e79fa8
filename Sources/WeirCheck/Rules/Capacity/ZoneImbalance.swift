// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Zones of which the others cannot take the place of the largest.
enum ZoneImbalance: Rule {
  static let info = RuleInfo(
    "zone-imbalance", .capacity, .warning, title: "When one zone fails, the others get more than twice their load",
    why:
      "Zones are there so that one may fail. What it carried goes to the others: with 3 instances in one zone and 1 in "
      + "the other, the loss of the first gives that one 4 times its requests, and it fails as well.",
    detection:
      "a service whose `at` has two zones or more (backups not counted), and the largest holds more than half of "
      + "the weight",
    formula: "weight of all ÷ weight of all but the largest zone > \(most)",
    mend: "Spread the instances, or their weights, evenly; or add a zone.",
    falsePositives: "Zones that run so idle that the others can carry it all. Accept it with the figures.")

  /// Two even zones: each must be able to carry the whole, and everybody with two zones knows it.
  private static let most = 2

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for service in subject.design.services {
      let zones = service.zoneNames
      let listed = service.listed.filter { !$0.backup.value }
      guard zones.count > 1 else { continue }
      let weights = zones.map { zone in
        listed.reduce(0) { $0 + ($1.zone?.value == zone ? $1.weight.value : 0) }
      }
      let all = listed.reduce(0) { $0 + $1.weight.value }
      guard let largest = weights.max(), let index = weights.firstIndex(of: largest) else { continue }
      let left = all - largest
      guard left > 0, all > most * left else { continue }
      let spot = listed.first { $0.zone?.value == zones[index] }?.zone?.place?.under(service.name.place)
      guard let spot else { continue }
      let name = service.name.text
      let times = Say.number(Double(all) / Double(left))
      found.append(
        info.finding(
          "zone \(zones[index]) holds \(largest) of \(all) parts of \(name): when it fails, the others get \(times) times "
            + "their load", at: spot, spot: spot.entry, caret: "\(largest) of \(all)",
          why: "\(all) ÷ \(left) = \(times): what the others have to spare decides whether \(name) outlives zone "
            + zones[index],
          mend: "give the other zones \(largest) parts together, not \(left)", acceptAt: service.name.place,
          inputs: [
            Finding.Input("weight of \(zones[index])", "\(largest)", spot),
            Finding.Input("weight of all", "\(all)", nil),
          ], result: "\(times) times the load"))
    }
    return found
  }
}
