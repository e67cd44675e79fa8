// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import WeirTelemetry

/// The admin listener: metrics and status, on loopback and on a UNIX socket that only its owner can open.
///
/// It runs on threads of its own and sees a loop's state only through what the plane publishes, so that nothing asked
/// here can slow a request. What changes the system is offered on the socket, which only its owner can open, and on the
/// port to whoever brings the token.
struct AdminServer: Sendable {
  /// What it shows; each is made when it is asked for.
  struct Content: Sendable {
    var metrics: @Sendable () -> String
    var status: @Sendable () -> Status?
    /// Whether the system takes requests: what a load balancer in front of this node may ask.
    var isReady: @Sendable () -> Bool
    /// Reads the file again.
    var reload: @Sendable () async -> ReloadOutcome
    /// Takes an instance of a service out of use, or back.
    var drain: @Sendable (String, Int, Bool) async -> DrainOutcome
    /// Has another binary take over.
    var upgrade: @Sendable (String) async -> UpgradeOutcome
    /// What waits, and what an operator does about it.
    var queues: QueueOffice
    /// Which sagas are under way or stuck, and what an operator says of them.
    var sagas: SagaOffice
    var logs: LogOffice
    var webhooks: WebhookDesk
    /// Lets a caller on the port change something: `Authorization: Bearer …`; it stands in the state folder.
    var token: String
  }

  let content: Content
  private let logger: Logger

  init(content: Content) {
    self.content = content
    var logger = Logger(label: "admin")
    logger.logLevel = .critical
    self.logger = logger
  }

  /// Serves until the task is cancelled.
  ///
  /// `listening` is told once that the address is bound.
  func run(
    _ address: BindAddress, isOwner: Bool, listening: @escaping @Sendable (Int?) async -> Void
  ) async throws {
    let application = Application(
      router: router(isOwner: isOwner), configuration: ApplicationConfiguration(address: address, serverName: nil),
      onServerRunning: { channel in await listening(channel.localAddress?.port) }, logger: logger)
    try await application.run()
  }

  private func router(isOwner: Bool) -> Router<BasicRequestContext> {
    let router = Router()
    router.get("/metrics") { [content] _, _ in
      Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: content.metrics())))
    }
    router.get("/status") { [content] _, _ in
      guard let status = content.status() else { return Response(status: .serviceUnavailable) }
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
      return Response(
        status: .ok, headers: [.contentType: "application/json"],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(status))))
    }
    router.get("/healthz") { [content] _, _ in
      let ready = content.isReady()
      return Response(
        status: ready ? .ok : .serviceUnavailable, headers: [.contentType: "text/plain"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: ready ? "ready\n" : "not ready\n")))
    }
    router.post("/reload") { [content] request, _ in
      if !isOwner, let refusal = content.refusal(of: request) { return refusal }
      let outcome = await content.reload()
      return try AdminServer.json(outcome, outcome.isRefused ? .unprocessableContent : .ok)
    }
    serveDrains(router, isOwner: isOwner)
    serveQueues(router, isOwner: isOwner)
    serveSagas(router, isOwner: isOwner)
    serveLogs(router, isOwner: isOwner)
    serveWebhooks(router, isOwner: isOwner)
    // What runs another program is its owner's only, whoever has the token.
    if isOwner {
      router.post("/upgrade") { [content] request, _ in
        let body = try await request.body.collect(upTo: 65_536)
        guard let order = try? JSONDecoder().decode(UpgradeOrder.self, from: Data(body.readableBytesView)) else {
          return Response(status: .badRequest)
        }
        let outcome = await content.upgrade(order.binary)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Response(
          status: outcome.isRefused ? .unprocessableContent : .ok,
          headers: [.contentType: "application/json", .connection: "close"],
          body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(outcome))))
      }
    }
    return router
  }

  /// `POST /instances/api/2/drain` and `…/undrain`.
  private func serveDrains(_ router: Router<BasicRequestContext>, isOwner: Bool) {
    for (word, isOn) in [("drain", true), ("undrain", false)] {
      router.post("/instances/:service/:instance/\(word)") { [content] request, context in
        if !isOwner, let refusal = content.refusal(of: request) { return refusal }
        let service = context.parameters.get("service") ?? ""
        let instance = context.parameters.get("instance").flatMap { Int($0) } ?? 0
        let outcome = await content.drain(service, instance, isOn)
        return try AdminServer.json(outcome, outcome.isDone ? .ok : .unprocessableContent)
      }
    }
  }

  static func json(_ value: some Encodable, _ status: HTTPResponse.Status = .ok) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Response(
      status: status, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(value))))
  }
}

extension AdminServer.Content {
  /// What a caller on the port is told who wants to change something and does not show the token; nil: he shows it.
  func refusal(of request: Request) -> Response? {
    if request.headers[.authorization] == "Bearer \(token)" { return nil }
    return Response(
      status: .unauthorized, headers: [.wwwAuthenticate: "Bearer", .contentType: "application/json"],
      body: ResponseBody(
        byteBuffer: ByteBuffer(string: "{\"error\":\"the token stands in admin.token in the state folder\"}\n")))
  }
}
