// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import WeirTelemetry

/// Queues: what waits in them, what is dead and why, and what an operator does about it.
///
/// Messages hold what callers have sent: looking into them takes the token, as changing them does.
extension AdminServer {
  /// `GET /queues`, `GET /queues/:queue/messages`, `GET /queues/:queue/messages/:id`; `POST /queues/:queue/pause` and so on.
  func serveQueues(_ router: Router<BasicRequestContext>, isOwner: Bool) {
    router.get("/queues") { [content] _, _ in
      guard let queues = await content.queues.all() else { return Response(status: .serviceUnavailable) }
      return try AdminServer.json(queues)
    }
    router.get("/queues/:queue/messages") { [content] request, context in
      if !isOwner, let refusal = content.refusal(of: request) { return refusal }
      let parameters = request.uri.queryParameters
      let page = await content.queues.messages(
        context.parameters.get("queue") ?? "", String(parameters["state"] ?? "dead"),
        parameters["after"].flatMap { Int64(String($0)) } ?? 0, parameters["limit"].flatMap { Int(String($0)) } ?? 50)
      return try page.map { try AdminServer.json($0) } ?? Response(status: .notFound)
    }
    router.get("/queues/:queue/messages/:id") { [content] request, context in
      if !isOwner, let refusal = content.refusal(of: request) { return refusal }
      let message = await content.queues.message(
        context.parameters.get("queue") ?? "", context.parameters.get("id") ?? "")
      return try message.map { try AdminServer.json($0) } ?? Response(status: .notFound)
    }
    for word in Status.QueueOrder.Word.allCases {
      router.post("/queues/:queue/\(word.rawValue)") { [content] request, context in
        if !isOwner, let refusal = content.refusal(of: request) { return refusal }
        let body = try await request.body.collect(upTo: 1 << 20)
        var order = Status.QueueOrder()
        if body.readableBytes > 0 {
          guard let read = try? JSONDecoder().decode(Status.QueueOrder.self, from: Data(body.readableBytesView)) else {
            return Response(status: .badRequest)
          }
          order = read
        }
        let outcome = await content.queues.order(context.parameters.get("queue") ?? "", word, order)
        return try AdminServer.json(outcome, outcome.isDone ? .ok : .unprocessableContent)
      }
    }
  }
}
