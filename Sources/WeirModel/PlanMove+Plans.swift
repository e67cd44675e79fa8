// SPDX-License-Identifier: Apache-2.0
package import WeirFlows

extension PlanMove {
  /// From one plan to the next by names: those of services and stores, of callers with their callees, of routes.
  ///
  /// An instance that Weir starts is known by its number, one that runs elsewhere by its address as it is written.
  package init(from old: Plan, to new: Plan) {
    let services = PlanMove.places(of: old.services.map(\.name), in: new.services.map(\.name))
    let edges = PlanMove.places(of: old.edges.map(\.name), in: new.edges.map(\.name))
    self.init(
      services: services,
      instances: services.enumerated().map { s, to in
        to.map { PlanMove.places(of: old.instanceNames(s), in: new.instanceNames($0)) } ?? []
      },
      edges: edges.enumerated().map { e, to in
        to.flatMap { services[old.edges[e].callee] == new.edges[$0].callee ? $0 : nil }
      },
      routes: PlanMove.places(of: old.routes, in: new.routes),
      limits: PlanMove.places(of: old.limits, in: new.limits))
  }
}

extension Plan {
  /// What the instances of a service are known by, from one plan to the next.
  package func instanceNames(_ service: Int) -> [String] {
    if service < design.services.count, case .addresses(let texts) = design.services[service].kind {
      // Connections that were made by other rules are not to be used again.
      let tls = design.services[service].tls.map { tls in
        " tls \(tls.verify.value) \(tls.authorities?.value ?? "") \(tls.name?.value ?? "") "
          + (tls.certificate?.chain.value ?? "")
      }
      if let discovery = design.services[service].discovery {
        return (0..<discovery.most.value).map { "\(discovery.name.value.raw) \($0 + 1)" + (tls ?? "") }
      }
      return texts.map { $0.value.raw + (tls ?? "") }
    }
    if service >= design.services.count, let at = design.stores[service - design.services.count].at.first {
      return [at.value.raw]
    }
    let kind = isStarted(service) ? "started" : "elsewhere"
    return (0..<flow.services[service].instances).map { "\(kind) \($0 + 1)" }
  }

  /// What decides whether a running program is still the one that the plan describes, as the file writes it: its
  /// command, its folder, its variables and what else it is given.
  package func programText(of service: Int) -> [String]? {
    guard service < design.services.count, case .program(let program) = design.services[service].kind else {
      return nil
    }
    return [program.command.value.raw, program.directory.value]
      + program.environment.map { "\($0.name)=\($0.value.value.raw)" }
      + services[service].uses.map { "\($0.variable)=\($0.way)" }
  }
}
