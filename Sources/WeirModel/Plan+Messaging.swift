// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
package import WeirPatterns

extension Plan {
  /// A queue: what decides over its messages, and where they go.
  package struct Queue: Sendable, Equatable {
    package var name: String
    package var settings: DeliveryQueue.Settings
    /// Where its messages are pushed; nil: programs fetch them.
    package var push: Push?
    /// What gives a message its key when who sends it names none: a member of a JSON body or a field of the request.
    package var keyField: String?
    /// Index in `logs`: what feeds it; nil for one that programs send to.
    package var log: Int?

    /// The call that delivers a message.
    package struct Push: Sendable, Equatable {
      /// Index in `edges`: one attempt, the lease's two thirds at most.
      package var edge: Int
      /// Index in `services`.
      package var service: Int
      package var method: String
      package var path: String
      /// Index in the service's operations; nil if it declares none.
      package var operation: Int?
      /// So many messages go in one request at most.
      package var batch: Int

      package init(edge: Int, service: Int, method: String, path: String, operation: Int? = nil, batch: Int = 1) {
        self.edge = edge
        self.service = service
        self.method = method
        self.path = path
        self.operation = operation
        self.batch = batch
      }
    }
  }

  /// A message that a request leaves behind.
  package struct Send: Sendable, Equatable {
    /// A queue, topic, stream or saga.
    package var to: Component
    /// The share of the requests that send it.
    package var share: Double
    /// Index in `queues`, if it is a queue that it goes to.
    package var queue: Int? { if case .queue(let queue) = to { queue } else { nil } }

    package init(to: Component, share: Double) {
      self.to = to
      self.share = share
    }
  }

  /// What programs of a service may send to, as messages of any request.
  func sends(of service: WeirModel.Service) -> [Send] {
    service.sends.map { Send(to: $0.value, share: 1) }
  }

  /// What an operation sends, wherever it stands among its steps.
  func sends(in steps: [WeirModel.Step], of service: WeirModel.Service) -> [Send] {
    steps.flatMap { step -> [Send] in
      switch step {
      case .call: return []
      case .together(let steps): return sends(in: steps, of: service)
      case .send(let send): return [Send(to: service.sends[send.send.value].value, share: send.share.value)]
      }
    }
  }

  /// What runs by the clock.
  package struct Job: Sendable, Equatable {
    package var name: String
    package var schedule: CronSchedule
    package var zone: CronSchedule.Zone
    package var settings: CronSchedule.Settings
    /// Index in `queues`: each run is a message of it, and all runs have one key.
    package var queue: Int
  }

  /// The queues and those of jobs, each with an edge of its own to what it delivers to.
  mutating func compileQueues() {
    queues = []
    for queue in design.queues {
      var compiled = Queue(name: queue.name.text, settings: queue.settings, keyField: queue.key?.value)
      if let to = queue.to?.value, let call = queue.call { compiled.push = push(to, call, from: compiled.name) }
      queues.append(compiled)
    }
    jobs = []
    for job in design.jobs {
      let name = "\(RootKeys.jobs.name).\(job.name.text)"
      var settings = CronSchedule.Settings()
      settings.missed = job.missed.value.pattern
      jobs.append(
        Job(
          name: job.name.text, schedule: job.every.value.schedule, zone: job.zone.value.zone, settings: settings,
          queue: queues.count))
      queues.append(Queue(name: name, settings: job.settings, push: push(job.to.value, job.call, from: name)))
    }
    compileLogs()
  }

  /// For the queue that is appended next.
  mutating func push(_ to: Errand, _ call: Call, from name: String) -> Queue.Push {
    let edge = add(call, from: .queue(queues.count), name: name)
    flow.edges[edge].call.attempt = call.attempt.value
    return Queue.Push(
      edge: edge, service: to.service, method: to.method, path: to.path, operation: to.operation)
  }
}
