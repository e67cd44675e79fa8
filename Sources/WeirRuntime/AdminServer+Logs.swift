// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import WeirTelemetry

/// Topics and streams: how far everybody is, what stands in them, and that a group gets it again.
///
/// Events hold what callers have sent: reading them takes the token, as changing something does.
extension AdminServer {
  /// `GET /topics`, `GET /topics/:log/events`, `POST /topics/:log/groups/:group/replay`; `/streams` likewise.
  func serveLogs(_ router: Router<BasicRequestContext>, isOwner: Bool) {
    for kind in Status.Log.Kind.allCases {
      let path = "/\(kind.rawValue)s"
      router.get("\(path)") { [content] _, _ in
        guard let logs = await content.logs.all(kind) else { return Response(status: .serviceUnavailable) }
        return try AdminServer.json(logs)
      }
      router.get("\(path)/:log/events") { [content] request, context in
        if !isOwner, let refusal = content.refusal(of: request) { return refusal }
        let parameters = request.uri.queryParameters
        let query = Status.LogQuery(
          key: parameters["key"].map(String.init), after: parameters["after"].flatMap { Int64(String($0)) },
          from: parameters["from"].map(String.init), limit: parameters["limit"].flatMap { Int(String($0)) } ?? 20)
        switch await content.logs.events(kind, context.parameters.get("log") ?? "", query) {
        case .events(let events): return try AdminServer.json(events)
        case .wrong(let why):
          return try AdminServer.json(Status.QueueOutcome(isDone: false, text: why), .unprocessableContent)
        case .unanswered: return Response(status: .serviceUnavailable)
        }
      }
      router.post("\(path)/:log/groups/:group/replay") { [content] request, context in
        if !isOwner, let refusal = content.refusal(of: request) { return refusal }
        let body = try await request.body.collect(upTo: 65_536)
        guard let order = try? JSONDecoder().decode(Status.ReplayOrder.self, from: Data(body.readableBytesView)) else {
          return Response(status: .badRequest)
        }
        let outcome = await content.logs.replay(
          kind, context.parameters.get("log") ?? "", context.parameters.get("group") ?? "", order)
        return try AdminServer.json(outcome, outcome.isDone ? .ok : .unprocessableContent)
      }
    }
  }
}
