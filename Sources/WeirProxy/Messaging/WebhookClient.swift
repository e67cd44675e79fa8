// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
package import WeirMessaging
import WeirPlatform
import WeirWire

/// Sends webhooks to addresses that others have chosen.
///
/// Each attempt looks its name up once, and connects to an address that ``OutgoingGuard`` has judged, as a number: a name that
/// means something else a moment later gains nothing. TLS is held against the name. Of the answer only the head is read; a
/// redirect is an answer like any other, and nobody follows it.
package final class WebhookClient: Sendable {
  package struct Request: Sendable {
    package var url: String
    /// Whole lines of fields.
    package var fields: String
    package var body: [UInt8]
    /// From the look-up to the answer's head.
    package var timeout: TimeAmount

    package init(url: String, fields: String, body: [UInt8], timeout: TimeAmount) {
      self.url = url
      self.fields = fields
      self.body = body
      self.timeout = timeout
    }
  }

  package enum Outcome: Sendable, Equatable {
    /// A status, and the nanoseconds of its `Retry-After`.
    case answered(UInt16, retryAfter: Int64?)
    case failed(String)
  }

  /// Bytes of an answer's head, and of the interim ones before it.
  static let headBytesMax = 16 << 10

  fileprivate let judge: OutgoingGuard
  private let resolver: @Sendable (String) throws -> [String]
  private let lookups = Mutex<[String: EventLoopFuture<[String]>]>([:])
  fileprivate let tls: NIOSSLContext

  /// Sends where `settings` allow.
  ///
  /// - Parameters:
  ///   - roots: authorities in PEM that are trusted instead of the system's.
  ///   - resolver: says which addresses a name has; it may block.
  package init(
    _ settings: OutgoingGuard.Settings, roots: String? = nil,
    resolver: @escaping @Sendable (String) throws -> [String] = { try Resolving.addresses(of: $0) }
  ) throws {
    judge = OutgoingGuard(settings)
    self.resolver = resolver
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.applicationProtocols = ["http/1.1"]
    if let roots {
      configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(roots.utf8)))
    }
    tls = try NIOSSLContext(configuration: configuration)
  }

  /// Threads of their own: a partner's name servers that never answer must not hold up what else runs beside the loops.
  private static let pool: NIOThreadPool = {
    let pool = NIOThreadPool(numberOfThreads: 16)
    pool.start()
    return pool
  }()

  /// Attempts that want to know a name at the same time share a look-up: so a name holds at most one thread.
  fileprivate func addresses(of host: String, on eventLoop: any EventLoop) -> EventLoopFuture<[String]> {
    if let known = lookups.withLock({ $0[host] }) { return known.hop(to: eventLoop) }
    let resolver = resolver
    let lookup = WebhookClient.pool.runIfActive(eventLoop: eventLoop) { try resolver(host) }
    lookups.withLock { $0[host] = lookup }
    lookup.whenComplete { [self] _ in lookups.withLock { $0[host] = nil } }
    return lookup
  }

  /// One attempt.
  package func send(_ request: Request, on eventLoop: any EventLoop) -> EventLoopFuture<Outcome> {
    let promise = eventLoop.makePromise(of: Outcome.self)
    eventLoop.execute { WebhookAttempt(self, request, eventLoop, promise).begin() }
    return promise.futureResult
  }
}

/// One attempt; confined to its loop.
private final class WebhookAttempt {
  private let client: WebhookClient
  private let request: WebhookClient.Request
  private let eventLoop: any EventLoop
  private var promise: EventLoopPromise<WebhookClient.Outcome>?
  private var channel: (any Channel)?
  private var deadline: Scheduled<Void>?
  private var target: OutgoingGuard.Target?
  private var addresses: ArraySlice<WireAddress> = []

  init(
    _ client: WebhookClient, _ request: WebhookClient.Request, _ eventLoop: any EventLoop,
    _ promise: EventLoopPromise<WebhookClient.Outcome>
  ) {
    self.client = client
    self.request = request
    self.eventLoop = eventLoop
    self.promise = promise
  }

  var isOver: Bool { promise == nil }

  func begin() {
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    deadline = eventLoop.scheduleTask(in: request.timeout) {
      bound.value.end(.failed("no answer in time"))
    }
    let target: OutgoingGuard.Target
    do throws(OutgoingGuard.Refusal) { target = try client.judge.target(request.url) } catch {
      return end(.failed(error.sentence))
    }
    self.target = target
    if target.address != nil { return choose([]) }
    let host = target.host
    client.addresses(of: host, on: eventLoop).whenComplete { result in
      switch result {
      case .success(let addresses): bound.value.choose(addresses)
      case .failure: bound.value.end(.failed("\(host) is not found"))
      }
    }
  }

  private func choose(_ resolved: [String]) {
    guard !isOver, let target else { return }
    switch client.judge.choose(target, texts: resolved) {
    case .refuse(let refusal): end(.failed(refusal.sentence))
    case .connect(let addresses):
      self.addresses = addresses[...]
      connect()
    }
  }

  private func connect() {
    guard !isOver, let target else { return }
    guard let address = addresses.popFirst(), let socket = WebhookAttempt.socket(address) else {
      return end(.failed("\(target.host) does not accept connections"))
    }
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    ClientBootstrap(group: eventLoop)
      .connectTimeout(.seconds(10))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let attempt = bound.value
          if target.isTLS {
            // An address has no name: the certificate is held against the address itself.
            let name = target.address == nil ? target.host : nil
            try channel.pipeline.syncOperations.addHandler(
              NIOSSLClientHandler(context: attempt.client.tls, serverHostname: name))
          }
          try channel.pipeline.syncOperations.addHandler(WebhookHandler(attempt))
        }
      }
      .connect(to: socket)
      .whenFailure { _ in bound.value.connect() }
  }

  private static func socket(_ address: WireAddress) -> SocketAddress? {
    var bytes = ByteBuffer()
    if address.isIPv6 {
      bytes.writeInteger(address.high)
      bytes.writeInteger(address.low)
    } else {
      bytes.writeInteger(address.ipv4)
    }
    return try? SocketAddress(packedIPAddress: bytes, port: Int(address.port))
  }

  func connected(_ channel: any Channel) {
    guard !isOver, let target else { return channel.close(promise: nil) }
    self.channel = channel
    var buffer = channel.allocator.buffer(capacity: request.body.count + 1024)
    buffer.writeString(
      "POST \(target.path) HTTP/1.1\r\nHost: \(target.authority)\r\nUser-Agent: Weir-Webhooks\r\nAccept: */*\r\n"
        + "\(request.fields)Content-Length: \(request.body.count)\r\nConnection: close\r\n\r\n")
    buffer.writeBytes(request.body)
    channel.writeAndFlush(buffer, promise: nil)
  }

  func end(_ outcome: WebhookClient.Outcome) {
    guard let promise else { return }
    self.promise = nil
    deadline?.cancel()
    deadline = nil
    channel?.close(promise: nil)
    channel = nil
    promise.succeed(outcome)
  }
}

private final class WebhookHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let attempt: WebhookAttempt
  private var input = ByteBuffer()
  private var scanner = ResponseScanner()
  private var count = 0

  init(_ attempt: WebhookAttempt) { self.attempt = attempt }

  func channelActive(context: ChannelHandlerContext) { attempt.connected(context.channel) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if attempt.isOver { return }
    var part = unwrapInboundIn(data)
    count += part.readableBytes
    input.writeBuffer(&part)
    var head = ResponseHead()
    while true {
      switch scanner.scan(&input, toHead: false, limits: HeadLimits(bytes: WebhookClient.headBytesMax), into: &head) {
      case .needMore:
        if count > WebhookClient.headBytesMax { attempt.end(.failed("the answer's head is too long")) }
        return
      case .refused: return attempt.end(.failed("the answer is no HTTP"))
      case .complete:
        if head.isInformational && head.status != 101 {
          input.moveReaderIndex(forwardBy: head.length)
          scanner = ResponseScanner()
          continue
        }
        let seconds = head.retryAfterSeconds
        return attempt.end(
          .answered(head.status, retryAfter: seconds < 0 ? nil : min(seconds, 1 << 31) * 1_000_000_000))
      }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    attempt.end(.failed("the connection ended without an answer"))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let isTLS = error is NIOSSLError || error is NIOSSLExtraError || error is BoringSSLError
    attempt.end(.failed(isTLS ? "TLS failed" : "the connection broke"))
    context.close(promise: nil)
  }
}
