// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows
package import WeirPatterns

/// What a world is made of: the flows' plan, and a model of everything the flows act on.
///
/// Made from a design (`Scene(design:…)`) or by hand, as the truth tests do.
package struct Scene: Sendable, Equatable {
  /// Exactly what the proxy's flows are made of.
  package var plan: FlowPlan
  /// By service of the plan.
  package var components: [ComponentModel]
  /// By edge of the plan.
  package var edges: [EdgeModel]
  /// By route of the plan.
  package var routes: [String]
  package var traffic: [TrafficModel]
  package var queues: [QueueModel] = []
  package var logs: [LogModel] = []
  package var jobs: [JobModel] = []
  package var sagas: [SagaModel] = []
  /// By route of the plan: the queue that takes its requests; nil where one is answered.
  package var routeQueues: [Int?] = []
  /// What the clock on the wall says when the story begins, in milliseconds since 1970.
  package var clock = Scene.monday
  /// What goes wrong, by the story's clock.
  package var faults: [FaultModel] = []
  /// What is always wrong, the warm-up included.
  package var always: [FaultModel] = []
  /// Event loops of the gateway that is modelled.
  package var loops = 1
  /// One way between any two processes, in nanoseconds.
  package var network: Int64 = 0

  package init(
    plan: FlowPlan, components: [ComponentModel], edges: [EdgeModel], routes: [String], traffic: [TrafficModel]
  ) {
    self.plan = plan
    self.components = components
    self.edges = edges
    self.routes = routes
    self.traffic = traffic
  }
}

package struct EdgeModel: Sendable, Equatable {
  /// `gateway → api`.
  package var name: String
  package init(name: String) { self.name = name }
}

/// A component that is called: workers, what it does for a request, how it comes back after its end.
package struct ComponentModel: Sendable, Equatable {
  package var name: String
  /// Requests one instance works on at the same time; more queue within it, first in, first out.
  package var workers: Int
  /// What it does, by operation; the first is for requests without one.
  package var operations: [OperationModel]
  /// It stops working when its caller has given up.
  package var cancels = false
  /// From the start of its process until it answers, in nanoseconds.
  package var start: Int64 = 0
  /// Weir starts it, so it sees its end at once and starts it again.
  package var isStarted = true
  package var restart = RestartBackoff.Settings()
  /// How it is probed; nil: it is taken to be ready when its process runs.
  package var health: HealthMonitor.Settings?

  package init(name: String, workers: Int, operations: [OperationModel]) {
    self.name = name
    self.workers = workers
    self.operations = operations
  }

  package init(name: String, workers: Int, work: WorkModel) {
    self.init(name: name, workers: workers, operations: [OperationModel(work: work)])
  }
}

/// What requests of one kind do at a component: its own work, then calls.
package struct OperationModel: Sendable, Equatable {
  package var work: WorkModel
  /// One after the other; the calls of one stage at the same time.
  package var stages: [[CallItem]]
  /// What the caller's flow takes it for.
  package var method: RetryRule.Method?
  /// Messages that it leaves behind when all of it has succeeded.
  package var sends: [SendItem]

  package init(
    work: WorkModel, stages: [[CallItem]] = [], method: RetryRule.Method? = nil, sends: [SendItem] = []
  ) {
    self.work = work
    self.stages = stages
    self.method = method
    self.sends = sends
  }
}

package struct CallItem: Sendable, Equatable {
  package var edge: Int
  /// Index into the callee's operations.
  package var operation: Int
  /// Share of the requests that make this call.
  package var share: Double
  /// The caller goes on without it.
  package var optional: Bool
  /// The call goes through Weir, which tells the callee what is left of the time and that retries are taken care of.
  package var tellsCallee: Bool

  package init(edge: Int, operation: Int = 0, share: Double = 1, optional: Bool = false, tellsCallee: Bool = true) {
    self.edge = edge
    self.operation = operation
    self.share = share
    self.optional = optional
    self.tellsCallee = tellsCallee
  }
}

/// Requests from outside that come whatever happens: a Poisson stream (an open loop).
package struct TrafficModel: Sendable, Equatable {
  package var name: String
  package var route: Int
  package var rate: Rate
  /// Different clients, all alike.
  package var clients: Int
  /// By callee of the route: index into its operations.
  package var operations: [Int]
  /// Index into the operations of the route's mirror.
  package var mirrorOperation = 0
  package var method: RetryRule.Method
  /// A client that has waited so long goes away, in nanoseconds; nil: it waits for the gateway's answer.
  package var patience: Int64?
  /// What comes are connections, which are work for their callee as long as they are open.
  package var connects = false

  package init(
    name: String, route: Int, rate: Rate, clients: Int = 1, operation: Int = 0, method: RetryRule.Method = .safe,
    patience: Int64? = nil
  ) {
    self.name = name
    self.route = route
    self.rate = rate
    self.clients = clients
    operations = [operation]
    self.method = method
    self.patience = patience
  }
}

/// Something that goes wrong, at a time after the story's beginning.
package struct FaultModel: Sendable, Equatable {
  package enum Kind: Sendable, Equatable {
    /// So many instances end at once.
    case kill(count: Int)
    /// A share of the requests takes longer by so many nanoseconds.
    case slow(by: Int64, share: Double)
    /// A share of the requests is answered with this status instead of being worked on.
    case fail(status: UInt16, share: Double)
    /// A share of the requests finds nobody, however often it tries: what is outside our hands and not always up.
    case away(share: Double)
    /// A share of the messages that a queue accepts is answered with this status whenever it is delivered.
    case poison(queue: Int, status: UInt16, share: Double)
    /// Messages come late.
    case delay(MessageFault)
    /// Messages come twice.
    case double(MessageFault)
    /// So many times the requests of this traffic come.
    case crowd(traffic: Int, times: Double)
  }

  package var kind: Kind
  /// Index into the components.
  package var component: Int
  /// Nanoseconds after the story's beginning.
  package var when: Int64
  /// How long it lasts; nil: to the end, or for `kill` until Weir has started it again.
  package var length: Int64?

  package init(_ kind: Kind, component: Int, when: Int64, length: Int64? = nil) {
    self.kind = kind
    self.component = component
    self.when = when
    self.length = length
  }
}
