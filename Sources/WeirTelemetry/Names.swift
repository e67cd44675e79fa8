// SPDX-License-Identifier: Apache-2.0

/// The names that stand for the plan's ids in metrics, logs and status; index for index.
package struct Names: Sendable, Equatable {
  package struct Edge: Sendable, Equatable {
    package var caller: String
    package var callee: String
    /// Index in `services`.
    package var service: Int
    /// Weir is on the way: there is something to tell.
    package var isCarried: Bool

    package init(caller: String, callee: String, service: Int, isCarried: Bool = true) {
      self.caller = caller
      self.callee = callee
      self.service = service
      self.isCarried = isCarried
    }
  }

  package var system: String
  package var routes: [String]
  package var edges: [Edge]
  package var services: [String]
  /// By service.
  package var zones: [Zones]

  /// Where a service's instances stand.
  package struct Zones: Sendable, Equatable {
    /// In the order of the file; empty where nobody says.
    package var names: [String]
    /// By instance: index in `names`, or nil for one that stands nowhere.
    package var ofInstance: [Int?]
    /// Index of the zone that Weir stands in.
    package var own: Int?

    package init(names: [String] = [], ofInstance: [Int?] = [], own: Int? = nil) {
      self.names = names
      self.ofInstance = ofInstance
      self.own = own
    }
  }

  package init(system: String, routes: [String], edges: [Edge], services: [String], zones: [Zones] = []) {
    self.system = system
    self.routes = routes
    self.edges = edges
    self.services = services
    self.zones = zones.isEmpty ? services.map { _ in Zones() } : zones
  }

  /// The name of a route, or `none` for requests that have no route: they share one series.
  package func route(_ index: Int) -> String { index < routes.count ? routes[index] : "none" }

  /// An instance as people call it, counted from 1: `api-2`.
  package func instance(_ index: Int, of service: Int) -> String { "\(services[service])-\(index + 1)" }
}
