// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A subset that no instance belongs to.
enum SubsetWithoutInstance: Rule {
  static let info = RuleInfo(
    "subset-without-instance", .structure, .error, title: "A subset that has no instance",
    why: "Who calls with a `subset` asks only instances that bear all of its labels. When none does, every request is "
      + "refused with 503 `subset-empty`, from the first on; with `subset-fallback: any` the subset means nothing.",
    detection: "a `subset` of a route, of one of its targets, of a mirror or of a call, and no entry of the service's "
      + "`at` with all of its labels. What Weir starts, and what a name says (`dns`), bears no labels",
    formula: "|{i ∈ at : subset ⊆ labels(i)}| = 0",
    mend: "Correct the label, or give it to the instances that are meant.",
    falsePositives: "Instances that come later: put the subset into the file together with them, by a reload.")

  static func find(_ subject: Subject) -> [Finding] {
    let design = subject.design
    var found: [Finding] = []
    for gateway in design.gateways {
      for route in gateway.routes {
        for share in route.to {
          share.subset.map { add($0, of: design.services[share.service.value], route.name.place, &found) }
        }
        if let mirror = route.target.mirror, let subset = mirror.subset {
          add(subset, of: design.services[mirror.to.value], route.name.place, &found)
        }
      }
    }
    for service in design.services {
      for call in service.calls {
        guard let subset = call.subset, case .service(let callee) = call.to.value else { continue }
        add(subset, of: design.services[callee], call.place, &found)
      }
    }
    return found
  }

  private static func add(_ subset: Subset, of service: Service, _ place: Place, _ found: inout [Finding]) {
    guard service.count(of: subset) == 0 else { return }
    let name = service.name.text
    let spot = subset.place.under(place) ?? subset.place
    let wanted = subset.labels.map { "\($0.name)=\($0.value.value)" }.joined(separator: ",")
    let written = labels(of: service)
    let why: String
    if !service.listed.isEmpty, service.discovery == nil {
      why = written.isEmpty ? "its instances bear no labels" : "its instances bear \(Say.list(written))"
    } else {
      why = "only instances listed under 'at' bear labels; those of \(name) are all alike"
    }
    let count = service.discovery == nil ? "0 of \(service.instances.value) instances" : "0 instances"
    found.append(
      info.finding(
        "\(count) of \(name) are \(wanted): every request is refused", at: spot, spot: spot.entry, caret: "0 instances",
        why: why, mend: mend(subset, service), acceptAt: place,
        inputs: [
          Finding.Input("subset", wanted, spot),
          Finding.Input("instances of \(name)", "\(service.instances.value)", service.instances.place),
        ], result: "0 instances"))
  }

  /// What its instances bear, each once.
  private static func labels(of service: Service) -> [String] {
    service.listed.flatMap(\.labels).reduce(into: [String]()) { all, label in
      let text = "\(label.name)=\(label.value.value)"
      if !all.contains(text) { all.append(text) }
    }
  }

  /// The label that is there under the same name, or where to write it.
  private static func mend(_ subset: Subset, _ service: Service) -> String {
    for label in subset.labels {
      let others = service.listed.flatMap(\.labels).filter { $0.name == label.name }
      if let other = others.first, !others.contains(where: { $0.value.value == label.value.value }) {
        return "subset: { \(label.name): \(other.value.value) }"
      }
    }
    guard case .addresses(let addresses) = service.kind, service.discovery == nil, let first = addresses.first,
      let label = subset.labels.first
    else { return "leave 'subset' out" }
    return "at: [ { at: \(first.value.raw), labels: { \(label.name): \(label.value.value) } } ]"
  }
}
