// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import WeirTelemetry

/// Sagas: which are under way, which are stuck and where, and what an operator says of them.
///
/// Journals hold what participants have answered: looking into them takes the token, as changing them does.
extension AdminServer {
  /// `GET /sagas`, `GET /sagas/:saga/instances`, `GET …/instances/:id`; `POST …/instances/:id/steer` and `turn-back`.
  func serveSagas(_ router: Router<BasicRequestContext>, isOwner: Bool) {
    router.get("/sagas") { [content] _, _ in
      guard let sagas = await content.sagas.all() else { return Response(status: .serviceUnavailable) }
      return try AdminServer.json(sagas)
    }
    router.get("/sagas/:saga/instances") { [content] request, context in
      if !isOwner, let refusal = content.refusal(of: request) { return refusal }
      let parameters = request.uri.queryParameters
      let page = await content.sagas.instances(
        context.parameters.get("saga") ?? "", String(parameters["state"] ?? "stuck"),
        parameters["after"].flatMap { Int64(String($0)) } ?? 0, parameters["limit"].flatMap { Int(String($0)) } ?? 50)
      return try AdminServer.found(page)
    }
    router.get("/sagas/:saga/instances/:id") { [content] request, context in
      if !isOwner, let refusal = content.refusal(of: request) { return refusal }
      let instance = await content.sagas.instance(
        context.parameters.get("saga") ?? "", context.parameters.get("id") ?? "")
      return try AdminServer.found(instance)
    }
    for word in Status.SagaOrder.Word.allCases {
      router.post("/sagas/:saga/instances/:id/\(word.rawValue)") { [content] request, context in
        if !isOwner, let refusal = content.refusal(of: request) { return refusal }
        let body = try await request.body.collect(upTo: 1 << 16)
        var order = Status.SagaOrder()
        if body.readableBytes > 0 {
          guard let read = try? JSONDecoder().decode(Status.SagaOrder.self, from: Data(body.readableBytesView)) else {
            return Response(status: .badRequest)
          }
          order = read
        }
        let outcome = await content.sagas.order(
          context.parameters.get("saga") ?? "", context.parameters.get("id") ?? "", word, order)
        return try AdminServer.json(outcome, outcome.isDone ? .ok : .unprocessableContent)
      }
    }
  }

  private static func found(_ found: SagaOffice.Found<some Encodable>) throws -> Response {
    switch found {
    case .found(let thing): try json(thing)
    case .none: Response(status: .notFound)
    case .unanswered: Response(status: .serviceUnavailable)
    }
  }
}
