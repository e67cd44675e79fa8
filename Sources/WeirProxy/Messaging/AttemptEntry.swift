// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows
import WeirWire

/// One attempt to have a message worked on: a line of the access log.
package struct AttemptEntry: Sendable, Equatable {
  /// Whose message it was.
  package enum Work: Sendable, Equatable {
    case queue(String)
    /// A topic or a stream, and the group.
    case group(log: String, isStream: Bool, group: String)
    /// Steps count from 1.
    case saga(String, step: Int, isUndo: Bool)
    /// The topic, the webhook and the endpoint.
    case webhook(topic: String, webhook: String, endpoint: String)
  }

  /// What it means for the message.
  package enum Outcome: String, Sendable, Equatable {
    case done, retry, refused, unknown
    /// The service was not asked, and the attempt does not count.
    case givenBack = "given-back"
    /// Not taken, and nothing more goes to this endpoint.
    case disabled

    init(_ verdict: QueueDelivery.Verdict) {
      self =
        switch verdict {
        case .ack: .done
        case .retry: .retry
        case .refused: .refused
        case .giveBack: .givenBack
        }
    }

    init(_ verdict: WebhookDelivery.Verdict) {
      self =
        switch verdict {
        case .ack: .done
        case .retry: .retry
        case .gaveUp: .refused
        case .giveBack: .givenBack
        case .disabled: .disabled
        }
    }

    /// What is not done is tried again; who was not asked had no attempt.
    init(_ outcome: SagaRun.Outcome, _ tries: UInt8) {
      self =
        switch outcome {
        case .done: .done
        case .refused: .refused
        case .notDone: tries == 0 ? .givenBack : .retry
        case .unknown: .unknown
        }
    }
  }

  package var work: Work
  /// The message; of several in one request the first.
  package var id: [UInt8]
  /// What the service knows it again by; empty where it is told none.
  package var key: [UInt8]
  /// Of the message: the first is 1.
  package var attempt: Int
  /// Messages in the request.
  package var count = 1
  package var startedAt: Instant
  /// Nanoseconds.
  package var duration: Int64
  package var outcome: Outcome
  /// Of the service's answer; 0: there was none.
  package var status: UInt16
  /// Why there was none, or ours stands in its place.
  package var reason = Reason.none
  /// The same in words, where there is no reason for it: a partner's.
  package var error = ""
  /// Along which the service was called; nil for a partner's address.
  package var way: Way?
  package var trace: Trace?

  package struct Way: Sendable, Equatable {
    /// By which plan the edge is.
    package var epoch: Int
    package var edge: Int
    package var instance: UInt16
    /// How often an instance was tried.
    package var tries: Int
  }

  package struct Trace: Sendable, Equatable {
    package var high: UInt64
    package var low: UInt64
    /// The attempt's own: what the service's spans are below.
    package var span: UInt64

    init(_ context: TraceContext) { (high, low, span) = (context.traceHigh, context.traceLow, context.span) }
  }
}

extension AttemptEntry {
  /// One that was a call along an edge.
  init(
    _ call: InnerCall, of work: Work, id: [UInt8], key: [UInt8], attempt: Int, count: Int = 1, startedAt: Instant,
    duration: Int64, outcome: Outcome, status: UInt16
  ) {
    self.init(
      work: work, id: id, key: key, attempt: attempt, count: count, startedAt: startedAt, duration: duration,
      outcome: outcome, status: status, reason: call.isOverlong && status > 0 ? .none : call.reason,
      way: Way(epoch: call.epoch, edge: call.edge, instance: call.instance, tries: Int(call.attempts)),
      trace: call.trace.map { Trace($0) })
  }
}
