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
/// here can slow a request. Nothing that changes the system is offered here.
struct AdminServer: Sendable {
  /// What it shows; each is made when it is asked for.
  struct Content: Sendable {
    var metrics: @Sendable () -> String
    var status: @Sendable () -> Status?
    /// Whether the system takes requests: what a load balancer in front of this node may ask.
    var isReady: @Sendable () -> Bool
  }

  private let content: Content
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
  func run(_ address: BindAddress, listening: @escaping @Sendable (Int?) async -> Void) async throws {
    let application = Application(
      router: router(), configuration: ApplicationConfiguration(address: address, serverName: nil),
      onServerRunning: { channel in await listening(channel.localAddress?.port) }, logger: logger)
    try await application.run()
  }

  private func router() -> Router<BasicRequestContext> {
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
    return router
  }
}
