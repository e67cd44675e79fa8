// SPDX-License-Identifier: Apache-2.0
import HTTPTypes
import Hummingbird
import NIOCore
import WeirMessaging

/// Webhooks: how endpoints do, and what an operator does about them.
extension AdminServer {
  /// `GET /webhooks`, and all of `/webhooks/<webhook>/endpoints…` that programs have.
  func serveWebhooks(_ router: Router<BasicRequestContext>, isOwner: Bool) {
    router.get("/webhooks") { [content] _, _ in try AdminServer.json(content.webhooks.last ?? []) }
    let paths: [(path: String, methods: [HTTPRequest.Method])] = [
      ("/webhooks/:webhook/endpoints", [.get, .post]), ("/webhooks/:webhook/endpoints/:id", [.get, .delete]),
      ("/webhooks/:webhook/endpoints/:id/:action", [.post]),
    ]
    for (path, methods) in paths {
      for method in methods {
        router.on(RouterPath(path), method: method) { [content] request, _ -> Response in
          if !isOwner, let refusal = content.refusal(of: request) { return refusal }
          let body = try await request.body.collect(upTo: 1 << 16)
          let answer = await content.webhooks.answer(
            request.method.rawValue, request.uri.path, Array(body.readableBytesView))
          return Response(
            status: HTTPResponse.Status(code: Int(answer.status)), headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body)))
        }
      }
    }
  }
}
