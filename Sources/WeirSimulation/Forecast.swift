// SPDX-License-Identifier: Apache-2.0

/// What will happen, with how sure that is: the answer of `weir simulate` for one story.
///
/// A value of numbers and names; `WeirReport` writes it as text and as JSON. The same file, options and seed give the same
/// forecast, bit for bit, on any number of threads.
package struct Forecast: Sendable, Equatable {
  package var system: String
  /// Nil for the quiet case: the traffic of the file and nothing going wrong.
  package var scenario: String?
  package var seed: UInt64
  package var loops: Int
  package var replications: Int
  /// Observations a replication.
  package var batches: Int
  /// Of each replication, in nanoseconds.
  package var warmUp: Int64
  package var length: Int64
  package var network: Int64
  /// Requests that were counted, over all replications.
  package var requests: Double
  package var total: Flow
  package var routes: [Flow]
  package var edges: [Flow]
  package var services: [Service]
  package var queues: [Messages] = []
  package var sagas: [Saga] = []
  package var bottleneck: Bottleneck?
  /// Of the first replication, in their order, with times from the story's beginning.
  package var events: [NamedEvent]
  package var eventsLost: Int
  package var verdicts: [Verdict]
  /// What is wrong with the run itself; nil in every run that may be believed.
  package var violation: String?

  /// Requests along a route, or calls along an edge.
  package struct Flow: Sendable, Equatable {
    package var name: String
    /// Begun a second.
    package var offered: Estimate
    /// Over, and no failure, a second.
    package var done: Estimate
    package var availability: Estimate
    package var latency: Latency
    /// Attempts a call; nil for routes.
    package var attempts: Estimate?
    /// Share that was answered with the fallback; nil for routes.
    package var fallbacks: Double?
    /// Share of requests by why they ended otherwise than with the callee's own answer; only those that occurred.
    package var reasons: [NamedShare]
    /// Who waited for a place; nil for routes.
    package var queue: Queue?
  }

  /// In nanoseconds, of what was answered.
  package struct Latency: Sendable, Equatable {
    package var mean: Estimate
    package var p50: Estimate
    package var p90: Estimate
    package var p99: Estimate
    package var p999: Estimate
    /// Ten shares of the distribution, log-spaced between the fastest and the slowest percent: a picture of its shape.
    package var shape: [Double]
    package var shapeFrom: Double
    package var shapeTo: Double
  }

  package struct NamedShare: Sendable, Equatable {
    package var name: String
    package var share: Double
  }

  package struct Queue: Sendable, Equatable {
    /// Mean number that wait.
    package var length: Estimate
    /// Share of calls that wait.
    package var share: Estimate
    /// Mean wait of those that do, in nanoseconds.
    package var wait: Estimate
  }

  package struct Service: Sendable, Equatable {
    package var name: String
    package var instances: Int
    /// Requests an instance works on at the same time; nil without a limit.
    package var workers: Int?
    /// Mean number worked on at the same time, over all instances.
    package var busy: Estimate
    /// `busy` as a share of the workers of all instances; nil without a limit.
    package var utilisation: Estimate?
    /// The queue within the instances.
    package var queue: Estimate
    /// Mean wait of those that wait there, in nanoseconds.
    package var wait: Estimate
  }

  /// What becomes of the messages of one queue.
  package struct Messages: Sendable, Equatable {
    package var name: String
    /// Accepted a second.
    package var sent: Estimate
    /// Worked on with success, a second.
    package var done: Estimate
    /// Mean number in the queue, those in work included.
    package var depth: Estimate
    package var inFlight: Estimate
    /// The most that have waited, and the longest that one has, in nanoseconds: means over the stories.
    package var peak: Estimate
    package var oldest: Estimate
    /// From the peak until a hundredth of it was left, in nanoseconds; nil when no backlog came to an end.
    package var drain: Estimate?
    /// The share of the stories in which the backlog was still there at the end.
    package var undrained: Double
    /// Until the first delivery begins: mean, in nanoseconds.
    package var wait: Estimate
    /// From acceptance until the work is done.
    package var time: Latency
    /// Deliveries a message.
    package var attempts: Estimate
    /// Dead letters by reason, as shares of what was accepted; only those that occurred.
    package var dead: [NamedShare]
    /// Share of what was sent that the full queue refused.
    package var refused: Double
    /// Accepted and never to be worked on, nor kept as dead letters: how many a story.
    package var lost: Estimate
    /// Worked on after a later one of their key, and worked on twice: how many a story.
    package var outOfOrder: Estimate
    package var doneTwice: Estimate
    /// Of those that are sorted, how many a story: put aside until their turn, left out for they were known, missing for
    /// longer than is waited.
    package var kept: Estimate?
    package var known: Estimate?
    package var skipped: Estimate?
  }

  /// What becomes of the sagas of one kind.
  package struct Saga: Sendable, Equatable {
    package var name: String
    /// Begun and finished a second.
    package var begun: Estimate
    package var finished: Estimate
    /// Of those that ended, the share that was undone.
    package var compensated: Double
    /// How many a story wait for a human, and how many were undone but for a step that stays done.
    package var stuck: Estimate
    package var leftDone: Estimate
    /// Mean number under way.
    package var underWay: Estimate
    /// From the beginning to the end, finished or compensated.
    package var time: Latency
    /// Calls of steps, and of what undoes them, a saga.
    package var calls: Estimate
  }

  /// What is full first when the load grows.
  package struct Bottleneck: Sendable, Equatable {
    package var service: String
    package var utilisation: Double
    /// Times this load at which its workers are all busy.
    package var factor: Double
  }

  package struct NamedEvent: Sendable, Equatable {
    package var at: Int64
    package var until: Int64?
    package var kind: String
    /// `gateway→api`, or the service's name.
    package var subject: String
    package var instance: Int?
    package var reason: String?
  }

  /// One requirement against its estimate.
  package struct Verdict: Sendable, Equatable {
    package enum Outcome: String, Sendable, CaseIterable { case met, missed, undecided }

    /// `availability`, `latency p99`.
    package var name: String
    /// Of a share, or in nanoseconds, or a number.
    package var required: Double
    package var isLatency: Bool
    package var isCount = false
    package var estimate: Estimate
    package var outcome: Outcome

    package init(
      name: String, required: Double, isLatency: Bool, isCount: Bool = false, estimate: Estimate, outcome: Outcome
    ) {
      self.name = name
      self.required = required
      self.isLatency = isLatency
      self.isCount = isCount
      self.estimate = estimate
      self.outcome = outcome
    }
  }

  /// All met, any missed, else undecided; met when nothing is required.
  package var outcome: Verdict.Outcome {
    if verdicts.contains(where: { $0.outcome == .missed }) { return .missed }
    return verdicts.contains { $0.outcome == .undecided } ? .undecided : .met
  }
}

/// What must be reached, without places in a file.
package struct Expectation: Sendable, Equatable {
  package var availability: Double?
  /// Bounds in nanoseconds; without a quantile it is the mean's.
  package var latency: [Bound] = []
  /// Messages over all queues.
  package var lostMessages: Int?
  package var outOfOrder: Int?
  package var doneTwice: Int?
  /// Sagas of all kinds.
  package var halfDone: Int?
  /// Of the worst queue, in nanoseconds.
  package var lag: Double?
  package var drain: Double?

  package struct Bound: Sendable, Equatable {
    package var label: String
    package var quantile: Double?
    package var bound: Double

    package init(label: String, quantile: Double?, bound: Double) {
      self.label = label
      self.quantile = quantile
      self.bound = bound
    }
  }

  package init(availability: Double? = nil, latency: [Bound] = [], lostMessages: Int? = nil) {
    self.availability = availability
    self.latency = latency
    self.lostMessages = lostMessages
  }

  package var isEmpty: Bool { self == Expectation() }
}

extension Forecast.Verdict {
  /// The truth is somewhere in the interval: only a whole interval on one side decides.
  package static func atLeast(_ required: Double, _ estimate: Estimate) -> Outcome {
    estimate.low >= required ? .met : estimate.high < required ? .missed : .undecided
  }

  package static func atMost(_ required: Double, _ estimate: Estimate) -> Outcome {
    estimate.high <= required ? .met : estimate.low > required ? .missed : .undecided
  }
}
