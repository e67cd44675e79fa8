// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import WeirWire

/// One question about an instance's health in HTTP/2, on a connection of its own: a path, or gRPC's health checking.
///
/// Source of the latter: gRPC's *Health Checking Protocol*, `grpc.health.v1.Health/Check`. Its two messages have one field
/// each: the service's name (1, a string) is asked for, and the status (1, a number) is answered: 1 is SERVING.
final class HTTP2Probe: HealthProbe {
  private let path: String
  /// The service that is asked for; empty for the whole server; nil for a path.
  private let service: String?
  var done: ((Bool) -> Void)?
  private var channel: (any Channel)?

  init(path: String, service: String?) {
    self.path = service == nil ? path : "/grpc.health.v1.Health/Check"
    self.service = service
  }

  func start(_ address: SocketAddress, securedBy secure: NIOSSLContext?, name: String?, on eventLoop: any EventLoop) {
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    ClientBootstrap(group: eventLoop)
      .connectTimeout(.seconds(10))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let secure {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler.handler(context: secure, name: name))
          }
          let handler = NIOHTTP2Handler(
            mode: .client, eventLoop: channel.eventLoop, connectionConfiguration: HTTP2Settings.client(ProxyLimits())
          ) { pushed in pushed.close() }
          try channel.pipeline.syncOperations.addHandlers([handler, Connection(bound.value)])
          bound.value.channel = channel
          try handler.syncMultiplexer().createStreamChannel(promise: nil) { stream in
            stream.eventLoop.makeCompletedFuture {
              try stream.pipeline.syncOperations.addHandler(Question(bound.value))
            }
          }
        }
      }
      .connect(to: address)
      .whenFailure { _ in bound.value.finish(false) }
  }

  func abandon() {
    done = nil
    channel?.close(promise: nil)
  }

  fileprivate func finish(_ isWell: Bool) {
    let done = self.done
    self.done = nil
    channel?.close(promise: nil)
    channel = nil
    done?(isWell)
  }

  private func request(_ allocator: ByteBufferAllocator) -> (HPACKHeaders, ByteBuffer?) {
    var headers = HPACKHeaders([
      (":method", service == nil ? "GET" : "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path),
      ("user-agent", "weir-health"),
    ])
    guard let service else { return (headers, nil) }
    headers.add(name: "content-type", value: "application/grpc")
    headers.add(name: "te", value: "trailers")
    // A name is far below 128 bytes: its length is one.
    let name = Array(service.utf8.prefix(127))
    let message = name.isEmpty ? [] : [0x0a, UInt8(name.count)] + name
    var body = allocator.buffer(capacity: 5 + message.count)
    body.writeBytes([0, 0, 0, 0, UInt8(message.count)] + message)
    return (headers, body)
  }

  /// Whether an answer says SERVING: an uncompressed message whose first field is 1.
  private static func isServing(_ body: ByteBuffer) -> Bool {
    Array(body.readableBytesView.prefix(7)) == [0, 0, 0, 0, 2, 0x08, 1]
  }

  private final class Connection: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    private let probe: HTTP2Probe
    init(_ probe: HTTP2Probe) { self.probe = probe }
    func channelInactive(context: ChannelHandlerContext) { probe.finish(false) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  private final class Question: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload
    private let probe: HTTP2Probe
    private var body = ByteBuffer()
    private var isWell = false

    init(_ probe: HTTP2Probe) { self.probe = probe }

    func channelActive(context: ChannelHandlerContext) {
      let (headers, body) = probe.request(context.channel.allocator)
      context.write(wrapOutboundOut(.headers(.init(headers: headers, endStream: body == nil))), promise: nil)
      if let body {
        context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(body), endStream: true))), promise: nil)
      }
      context.flush()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .headers(let frame):
        if let status = frame.headers.first(name: ":status").flatMap({ Int($0) }) {
          if status < 200 { return }
          if probe.service == nil { return probe.finish(status < 400) }
          isWell = status == 200
        }
        if frame.endStream {
          let status = frame.headers.first(name: "grpc-status")
          probe.finish(isWell && status == "0" && HTTP2Probe.isServing(body))
        }
      case .data(let frame):
        if case .byteBuffer(var part) = frame.data, body.readableBytes < 1024 { body.writeBuffer(&part) }
        if frame.endStream { probe.finish(false) }
      default: break
      }
    }

    func channelInactive(context: ChannelHandlerContext) { probe.finish(false) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

/// One question about an instance's health.
protocol HealthProbe: AnyObject {
  /// Told once, unless the probe was abandoned.
  var done: ((Bool) -> Void)? { get set }
  func start(_ address: SocketAddress, securedBy secure: NIOSSLContext?, name: String?, on eventLoop: any EventLoop)
  func abandon()
}
