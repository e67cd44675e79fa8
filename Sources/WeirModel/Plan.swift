// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows
package import WeirPatterns

/// A design with dense ids: what the simulator and the runtime are made of, and the names for showing.
///
/// Ids are indexes: of services (the design's services, then its stores), edges, routes, limits. They depend on the
/// design alone and stand in the order of the file, so the same file gives the same plan.
package struct Plan: Sendable, Equatable {
  package var design: Design
  package var flow: FlowPlan
  /// By service of `flow`: the design's services, then its stores.
  package var services: [Service]
  /// By edge of `flow`: the gateway's first, then each service's in turn, then the queues'.
  package var edges: [Edge]
  /// By route of `flow`.
  package var routes: [String]
  /// By limit of `flow`: a name that no other one has, made of whose it is and what it counts by.
  package var limits: [String]
  /// By access of `flow`.
  package var accesses: [Access] = []
  /// By limit: what it counts by, for those that know more of a request than the flows do.
  package var limitFields: [RouteLimit.By] = []

  /// Claims that limits count by, each once, in the order of the limits.
  package var countedClaims: [String] {
    var paths: [String] = []
    for case .claim(let path) in limitFields where !paths.contains(path) { paths.append(path) }
    return paths
  }

  /// Nil if the design has no gateway.
  package var gateway: Gateway?
  /// What comes in, by traffic of the design.
  package var loads: [Load]
  /// Queues of the design, then one for each job, called `jobs.<name>`, then the groups of `logs`, `<log>.<group>`.
  package var queues: [Queue] = []
  /// Topics of the design, then its streams.
  package var logs: [Log] = []
  /// What runs by the clock.
  package var jobs: [Job] = []
  /// Sagas of the design, each with a queue called `sagas.<name>`.
  package var sagas: [Saga] = []

  package struct Service: Sendable, Equatable {
    package var name: String
    package var component: Component
    package var isStore: Bool
    /// How Weir probes it; nil: what runs is taken to be ready.
    package var health: Health?
    /// Services that must be ready before it starts: what it calls (unless optional) and `after`; without those that
    /// would make a circle.
    ///
    /// Only services that Weir starts are named, and only those that it starts have any.
    package var startsAfter: [Int]
    /// The variables that Weir gives its programs for what they may use, but for `PORT` and `WEIR_URL`.
    package var uses: [Use]
    /// What a request does, by operation of the design; empty: every edge in `edges`, in order, once.
    package var operations: [Operation]
    /// Its edges to what it calls, by call of the design.
    package var edges: [Int]
    /// What a request sends that names no operation.
    package var sends: [Send] = []
  }

  package struct Health: Sendable, Equatable {
    package var ready: String?
    /// Nothing is asked: that a connection is taken is enough.
    package var isConnect = false
    package var live: String?
    package var grpc: String?
    package var settings: HealthMonitor.Settings
  }

  /// Whether something asks a service's instances if they take requests.
  package func isAsked(_ service: Int) -> Bool {
    services[service].health.map { $0.ready != nil || $0.grpc != nil } ?? false
  }

  /// `NOTES_DB_URL`, and what it leads to.
  package struct Use: Sendable, Equatable {
    package enum Way: Sendable, Equatable {
      /// `$WEIR_URL/call/<name>`.
      case call(String)
      /// `sqlite:` and the file, relative to the Weir file.
      case file(scheme: String, path: String)
      /// `$WEIR_URL/queues/<name>`.
      case queue(String)
      /// `$WEIR_URL/topics/<name>`, `streams`, `sagas`.
      case sink(section: String, name: String)
      /// `postgres://host:port`.
      case address(scheme: String, at: Text)
    }
    package var variable: String
    package var way: Way
  }

  package struct Operation: Sendable, Equatable {
    package var method: String
    package var path: String
    package var steps: [Step]
    /// Messages that it leaves behind.
    package var sends: [Send] = []
    /// Nil: the service's work.
    package var work: Work?
  }

  package indirect enum Step: Sendable, Equatable {
    /// Along an edge; `operation` is the callee's, nil for a request that names none.
    case call(edge: Int, operation: Int?, share: Double, optional: Bool)
    case together([Step])
  }

  package struct Edge: Sendable, Equatable {
    package enum Caller: Sendable, Equatable {
      case gateway
      /// The gateway, with copies of requests that a service gets beside another.
      case mirror
      case service(Int)
      /// Index in `queues`: Weir itself delivers its messages.
      case queue(Int)
    }
    /// `gateway→api`.
    package var name: String
    package var caller: Caller
    /// Index of the callee in `services`.
    package var callee: Int
    /// The design's call that it is made of.
    package var call: Call
    /// Programs call stores by themselves: Weir is not on the way, only the simulator plays it.
    package var isModelOnly: Bool
  }

  package struct Gateway: Sendable, Equatable {
    package var listeners: [Listener]
    package var trie: RouteTrie
    /// Routes that no rule tells apart: a finding.
    package var ties: [RouteTrie.Tie]
    /// Networks and addresses, as written.
    package var trusted: [String]
    package var addressLimit: AddressLimit.Settings
    package var bodyBytes: Int
    /// How much memory the process may hold; nil: nobody looks.
    package var memoryBytes: Int?
    /// By route: what is done to its requests beside sending them on; nil for nothing.
    package var treatments: [RouteTreatment?]
    package var requestID: RequestID?
    /// By route: the field that carries its requests' keys; nil where none is looked at.
    package var keyHeaders: [String?] = []
    /// Routes whose calls of gRPC-Web are made into calls of gRPC.
    package var grpcWebRoutes: Set<Int> = []
  }

  package struct Listener: Sendable, Equatable {
    package var host: String
    package var port: Int
    package var isSecured: Bool
    /// Every caller is sent to the listener with TLS at this port.
    package var redirectPort: Int?
    /// A listener of TCP; nil for HTTP.
    package var tcp: TCP?
    /// Connections begin with a PROXY header.
    package var isProxied = false

    package struct TCP: Sendable, Equatable {
      /// Where connections go that no name takes.
      package var edge: Int?
      /// By the name that a TLS client asks for.
      package var names: [Target]
      package var idle: Duration
    }

    package struct Target: Sendable, Equatable {
      package var host: String
      package var edge: Int
    }
  }

  package struct Load: Sendable, Equatable {
    package var name: String
    /// Nil when it does not come through the gateway.
    package var route: Int?
    /// The callee; of a route that shares its requests out the first, of one that answers by itself nil.
    package var service: Int?
    /// By service of the route (of the callee alone without one): the index in its operations.
    package var operations: [Int?]
    /// Index in the operations of the route's mirror.
    package var mirrorOperation: Int?
    package var method: RetryRule.Method
    package var rate: Rate
    package var clients: Int?
    /// The edge that a TCP listener leads along, for connections; nil for requests.
    package var connects: Int?
  }

  /// What a route does to its requests, beside choosing who answers.
  package struct RouteTreatment: Sendable, Equatable {
    package var rewrite: Template?
    package var host: String?
    package var query: [(name: String, value: String)] { querySet.map { ($0.name, $0.value.value) } }
    package var querySet: [Named<String>] = []
    package var queryRemove: [String] = []
    package var request = HeaderEdits.none
    package var response = HeaderEdits.none
    package var redirect: Redirect?
    package var retirement: Retirement?
    package var retirementLink: String?
    /// A client that meets one of several services gets its key in a cookie.
    package var keepsByCookie = false
    package var errorPages: [ErrorPage] = []
    package var json: RouteJSON.Edits?
    /// Bodies of mirrored requests are compared; nil: none is mirrored.
    package var mirrorCompares: Bool?

    package struct Redirect: Sendable, Equatable {
      package var to: Template
      package var status: Int
    }
  }

  /// The index in `services` of a component.
  package func index(of component: Component) -> Int {
    switch component {
    case .service(let index): index
    case .store(let index): design.services.count + index
    case .queue, .topic, .stream, .saga:
      preconditionFailure("what is sent to is not called: the resolver says so")
    }
  }

  /// Services in an order in which each stands behind those it starts after.
  package var startOrder: [Int] {
    var order: [Int] = []
    func visit(_ index: Int) {
      guard !order.contains(index) else { return }
      for before in services[index].startsAfter { visit(before) }
      order.append(index)
    }
    for index in services.indices where isStarted(index) { visit(index) }
    return order
  }

  /// The name that says where a service's instances are; nil where the file does.
  package func discovery(_ index: Int) -> Discovery? {
    index < design.services.count ? design.services[index].discovery : nil
  }

  /// Whether Weir starts it.
  package func isStarted(_ index: Int) -> Bool {
    guard index < design.services.count, case .program = design.services[index].kind else { return false }
    return true
  }

  /// The variables of a service's programs beside `PORT`: `WEIR_URL` and one for each thing that it may use.
  ///
  /// `weirURL` is where its own calls go (`http://127.0.0.1:4711/from/api`); `folder` is the Weir file's, absolute;
  /// `resolve` reads a text's references.
  package func environment(
    of index: Int, weirURL: String, folder: String, resolve: (Text) -> String
  ) -> [(name: String, value: String)] {
    var variables = [(name: "WEIR_URL", value: weirURL)]
    for use in services[index].uses {
      switch use.way {
      case .call(let name): variables.append((use.variable, "\(weirURL)/call/\(name)"))
      case .queue(let name): variables.append((use.variable, "\(weirURL)/queues/\(name)"))
      case .sink(let section, let name): variables.append((use.variable, "\(weirURL)/\(section)/\(name)"))
      case .file(let scheme, let path):
        let whole = path.hasPrefix("/") ? path : folder + (folder.hasSuffix("/") ? "" : "/") + path
        variables.append((use.variable, "\(scheme)://\(whole)"))
      case .address(let scheme, let at): variables.append((use.variable, "\(scheme)://\(resolve(at))"))
      }
    }
    return variables
  }

  /// Something of it must outlive the plane: the state process runs.
  package var needsState: Bool {
    !queues.isEmpty || !logs.isEmpty || !outboxes.isEmpty || flow.routes.contains { $0.idempotency != nil }
  }

  /// Instances of all services and stores.
  package var instances: Int { flow.services.reduce(0) { $0 + $1.instances } }

  /// By edge, how many instances its callee has: what the count of metric series is made of.
  package var instancesByEdge: [Int] { flow.edges.map { flow.services[$0.service].instances } }
}
