// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import WeirCertificates

/// Puts TLS around a plain test: takes plain connections and makes secured ones of them, or the other way round.
///
/// So every blocking client and server of these tests can speak TLS without knowing of it.
final class TLSRelay: Sendable {
  enum Side: Sendable {
    /// Connects with TLS, asking for `name`.
    case client(NIOSSLContext, name: String?)
    /// Accepts with TLS, connects plainly.
    case server(NIOSSLContext)
  }

  let port: Int
  /// What went wrong in handshakes, as the library says it.
  let errors = Mutex<[String]>([])
  /// The certificates that servers showed, as PEM's inner bytes.
  let shown = Mutex<[[UInt8]]>([])
  private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let listener: any Channel

  init(_ side: Side, to target: Int) async throws {
    let kept = Kept()
    listener = try await ServerBootstrap(group: Self.group)
      .childChannelOption(.autoRead, value: false)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { accepted in
        let near = NIOLoopBound(Glue(kept), eventLoop: accepted.eventLoop)
        do {
          if case .server(let context) = side {
            try accepted.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          }
          try accepted.pipeline.syncOperations.addHandler(near.value)
        } catch { return accepted.eventLoop.makeFailedFuture(error) }
        return ClientBootstrap(group: accepted.eventLoop)
          .channelOption(.allowRemoteHalfClosure, value: true)
          .channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
              if case .client(let context, let name) = side {
                try channel.pipeline.syncOperations.addHandler(
                  NIOSSLClientHandler(context: context, serverHostname: name))
              }
              let far = Glue(kept)
              far.partner = near.value
              near.value.partner = far
              try channel.pipeline.syncOperations.addHandler(far)
            }
          }
          .connect(host: "127.0.0.1", port: target)
          .flatMap { _ in accepted.setOption(.autoRead, value: true) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    port = listener.localAddress?.port ?? 0
    kept.relay.withLock { $0 = self }
  }

  func stop() { listener.close(promise: nil) }

  /// The relay of a connection: known only when the listener is made.
  final class Kept: Sendable {
    let relay = Mutex<TLSRelay?>(nil)
  }

  /// One side of a connection: all that it reads is the other's to write.
  private final class Glue: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    weak var partner: Glue?
    private var context: ChannelHandlerContext?
    private let kept: Kept

    init(_ kept: Kept) { self.kept = kept }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      partner?.context?.writeAndFlush(NIOAny(unwrapInboundIn(data)), promise: nil)
    }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { partner?.context?.close(mode: .output, promise: nil) }
      if let handler = try? context.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self),
        let bytes = try? handler.peerCertificate?.toDERBytes()
      {
        kept.relay.withLock { $0 }?.shown.withLock { $0.append(bytes) }
      }
    }
    func channelInactive(context: ChannelHandlerContext) { partner?.context?.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      kept.relay.withLock { $0 }?.errors.withLock { $0.append("\(error)") }
      context.close(promise: nil)
    }
  }
}

/// Certificates of a test, and contexts made of them.
struct TestAuthority {
  let authority: DevelopmentAuthority
  private let now = Date()

  init() throws { authority = try DevelopmentAuthority.make(machine: "test", now: Date()) }

  func leaf(_ names: String...) throws -> CertificateChain { try authority.leaf(names: names, now: now) }

  func clientLeaf(_ name: String) throws -> CertificateChain {
    try authority.leaf(names: [name], forClient: true, now: now)
  }

  private func authorities() throws -> NIOSSLTrustRoots {
    .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.certificate.utf8)))
  }

  func client(
    showing own: CertificateChain? = nil, trusting other: TestAuthority? = nil,
    _ change: (inout TLSConfiguration) -> Void = { _ in }
  ) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.trustRoots = try (other ?? self).authorities()
    if let own {
      configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(own.chain.utf8)).map {
        .certificate($0)
      }
      configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(own.key.utf8), format: .pem))
    }
    change(&configuration)
    return try NIOSSLContext(configuration: configuration)
  }

  func server(_ chain: CertificateChain) throws -> NIOSSLContext {
    try NIOSSLContext(
      configuration: .makeServerConfiguration(
        certificateChain: NIOSSLCertificate.fromPEMBytes(Array(chain.chain.utf8)).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(chain.key.utf8), format: .pem))))
  }
}
