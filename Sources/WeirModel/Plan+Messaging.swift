// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
package import WeirPatterns

extension Plan {
  /// A queue: what decides over its messages, and where they go.
  package struct Queue: Sendable, Equatable {
    package var name: String
    package var settings: Settings
    /// Where its messages are pushed; nil: programs fetch them.
    package var push: Push?
    /// What gives a message its key when who sends it names none: a member of a JSON body or a field of the request.
    package var keyField: String?

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

      package init(edge: Int, service: Int, method: String, path: String, operation: Int? = nil) {
        self.edge = edge
        self.service = service
        self.method = method
        self.path = path
        self.operation = operation
      }
    }

    /// How messages of a queue are given out, tried again and ended.
    package struct Settings: Sendable, Equatable {
      package var visibility = Duration.seconds(30)
      package var attempts = 20
      package var backoff: Backoff.Settings = {
        var backoff = Backoff.Settings()
        backoff.first = .seconds(1)
        backoff.max = .seconds(3600)
        return backoff
      }()
      package var keepsDead = true
      package var keep = Duration.seconds(14 * 86_400)
      package var dedup = Duration.seconds(300)
      package var length = 1_000_000
      package var bytes = 1 << 30
      package var atOnce = Int32.max
      package var keyAtOnce = 1
      package var rate: Rate?

      package init() {}
    }
  }

  /// A message that a request leaves behind.
  package struct Send: Sendable, Equatable {
    /// Index in `queues`.
    package var queue: Int
    /// The share of the requests that send it.
    package var share: Double

    package init(queue: Int, share: Double) {
      self.queue = queue
      self.share = share
    }
  }

  /// What programs of a service may send to, as messages of any request.
  func sends(of service: WeirModel.Service) -> [Send] {
    service.sends.compactMap { send in
      if case .queue(let queue) = send.value { Send(queue: queue, share: 1) } else { nil }
    }
  }

  /// What an operation sends, wherever it stands among its steps.
  func sends(in steps: [WeirModel.Step], of service: WeirModel.Service) -> [Send] {
    steps.flatMap { step -> [Send] in
      switch step {
      case .call: return []
      case .together(let steps): return sends(in: steps, of: service)
      case .send(let send):
        guard case .queue(let queue) = service.sends[send.send.value].value else { return [] }
        return [Send(queue: queue, share: send.share.value)]
      }
    }
  }

  /// The queues, each with an edge of its own to what it delivers to.
  mutating func compileQueues() {
    queues = design.queues.enumerated().map { index, queue in
      var compiled = Queue(name: queue.name.text, settings: queue.settings, keyField: queue.key?.value)
      if let to = queue.to?.value, let call = queue.call {
        let edge = add(call, from: .queue(index), name: queue.name.text)
        flow.edges[edge].call.attempt = call.attempt.value
        compiled.push = Queue.Push(
          edge: edge, service: to.service, method: to.method, path: to.path, operation: to.operation)
      }
      return compiled
    }
  }
}
