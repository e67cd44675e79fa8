// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
package import WeirWire

/// HTTP of all that programs reach at `$WEIR_URL`: the first part of the path says whose it is.
///
/// Pure, like the parts that it is made of. What carries it out knows only ``Outcome``: it answers, or it asks the state
/// process and gives the reply to ``Then/next(_:)``, as often as it takes.
///
///     parse ──▶ answer
///       └─────▶ ask ──reply──▶ next ──▶ answer
///                ▲──────────────┘
package struct MessagingAPI: Sendable {
  package enum Outcome: Sendable, Equatable {
    case answer(MessagingAnswer)
    /// What becomes of the reply is asked of `then`; when there is none in time the answer is ``unavailable``.
    case ask(StateRequest, then: Then)
  }

  /// What a reply leads to; a part of the API has a case.
  package enum Then: Sendable, Equatable {
    case queue(Answering)
    /// Of a log's group, which is a queue.
    case group(Answering)
    case log(LogAnswering)
    case webhook(WebhookStep)
    case saga(SagaAnswering)

    package func next(_ reply: StateReply) -> Outcome {
      switch self {
      case .queue(let answering): .answer(answering.answer(reply))
      case .group(let answering):
        .answer(reply == .unknownQueue ? MessagingAnswer(.groupUnknown) : answering.answer(reply))
      case .log(let answering): answering.next(reply)
      case .webhook(let step): step.next(reply)
      case .saga(let answering): answering.next(reply)
      }
    }
  }

  /// The largest body of a request.
  package static let bodyBytesMax = QueueAPI.bodyBytesMax

  /// The first parts of paths that are answered here.
  package static let sections = ["queues", "topics", "streams", "webhooks", "sagas"]

  /// The answer when the state process says nothing within the time that there is.
  package static var unavailable: MessagingAnswer { Answering.unavailable }

  package let queues: QueueAPI
  private let logs: LogAPI
  private let webhooks: WebhookAPI

  package init(queues: QueueAPI = QueueAPI(), logs: LogAPI = LogAPI(), webhooks: WebhookAPI = WebhookAPI()) {
    self.queues = queues
    self.logs = logs
    self.webhooks = webhooks
  }

  /// What a request asks.
  ///
  /// - Parameters:
  ///   - now: delays are counted from it.
  ///   - random: ids of what has none are drawn from it.
  package func parse(_ request: MessagingRequest, now: WallTime, using random: inout SeededRandom) -> Outcome {
    switch MessagingAPI.section(request.path) {
    case "queues":
      switch queues.parse(request, now: now, using: &random) {
      case .ask(let question, let then): .ask(question, then: .queue(then))
      case .refuse(let answer): .answer(answer)
      }
    case "topics", "streams": logs.parse(request, now: now, using: &random)
    case "webhooks": webhooks.parse(request, now: now, using: &random)
    case "sagas": SagaAPI().parse(request, now: now, using: &random)
    default: .answer(MessagingAnswer(.noRoute))
    }
  }

  /// Whether what a request asks is found out within a millisecond or few: anything else keeps an event loop from its others.
  ///
  /// Reading JSON is quick; judging it by a schema may take a step for each byte and each word of the schema.
  package func isBrief(_ request: MessagingRequest) -> Bool {
    request.body.count <= MessagingAPI.briefBytes / 16
      || request.body.count <= MessagingAPI.briefBytes && !logs.judges(request)
  }

  /// Whether an answer is made of a reply within a millisecond or few.
  package static func isBrief(_ reply: StateReply) -> Bool {
    switch reply {
    case .entries(let entries): entries.reduce(0) { $0 + $1.body.count + $1.fields.count + 256 } <= briefBytes
    case .leased(let messages):
      messages.reduce(0) { $0 + $1.message.body.count + $1.message.fields.count + 256 } <= briefBytes
    default: true
    }
  }

  /// 4 KiB with a schema.
  private static let briefBytes = 64 << 10

  /// How long the state process may take to reply, in milliseconds: as long as the request lets it wait, or 5 s.
  package static func time(for request: StateRequest) -> Int64 {
    switch request {
    case .lease(_, _, _, let wait), .read(_, _, _, _, let wait): wait
    default: 5000
    }
  }

  /// The first part of a path.
  private static func section(_ path: String) -> String {
    String(path.dropFirst().prefix { $0 != "/" })
  }
}
