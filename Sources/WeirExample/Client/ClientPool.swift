// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// Why no response came.
enum ClientFailure: String, Sendable, CaseIterable {
  /// No connection could be made.
  case connect
  /// The connection ended before the response did.
  case closed
  /// No response in time, the wait for a connection included.
  case timeout
  /// What came was not HTTP/1.
  case `protocol`
  /// Too many requests waited for a connection.
  case queue
}

/// What became of one request.
enum ClientOutcome: Sendable {
  case answered(ClientResponse)
  case failed(ClientFailure)
}

/// One request on its way.
final class ClientExchange {
  let request: ByteBuffer
  let isHead: Bool
  let keepsContent: Bool
  let timeout: TimeAmount
  /// Whether it may be sent once more when a kept connection turns out to be closed (RFC 9110 §9.2.2).
  var mayRepeat: Bool
  /// Asked when the request is written: how late that is, is what the load generator wants to know.
  var sent: () -> Void = {}
  private var completion: ((ClientOutcome) -> Void)?
  fileprivate var timer: Scheduled<Void>?
  /// The connection it was sent on.
  fileprivate var carrier: ClientConnection?

  init(
    request: ByteBuffer, isHead: Bool, keepsContent: Bool, timeout: TimeAmount, mayRepeat: Bool,
    completion: @escaping (ClientOutcome) -> Void
  ) {
    self.request = request
    self.isHead = isHead
    self.keepsContent = keepsContent
    self.timeout = timeout
    self.mayRepeat = mayRepeat
    self.completion = completion
  }

  var isOver: Bool { completion == nil }

  /// Tells the outcome, once.
  func finish(_ outcome: ClientOutcome) {
    guard let completion else { return }
    self.completion = nil
    carrier = nil
    timer?.cancel()
    timer = nil
    completion(outcome)
  }
}

/// Keep-alive connections to one address, confined to one event loop; the last used is used next.
///
/// Whatever waits for a connection waits in order, at most ``waitingMax`` of it.
final class ClientPool {
  let loop: any EventLoop
  private let address: SocketAddress
  private let connectionsMax: Int
  private let waitingMax: Int
  private var open = 0
  private var idle: [ClientConnection] = []
  private var waiting = CircularBuffer<ClientExchange>()

  init(loop: any EventLoop, address: SocketAddress, connectionsMax: Int, waitingMax: Int = 100_000) {
    self.loop = loop
    self.address = address
    self.connectionsMax = connectionsMax
    self.waitingMax = waitingMax
  }

  /// Sends a request as soon as there is a connection.
  func send(_ exchange: ClientExchange) {
    exchange.timer = loop.assumeIsolated().scheduleTask(in: exchange.timeout) {
      // The connection that carries it is of no use any more: its response may still come.
      let carrier = exchange.carrier
      exchange.finish(.failed(.timeout))
      carrier?.close()
    }
    submit(exchange)
  }

  private func submit(_ exchange: ClientExchange) {
    if let connection = idle.popLast() {
      connection.start(exchange)
    } else if open < connectionsMax {
      connect(for: exchange)
    } else if waiting.count < waitingMax {
      waiting.append(exchange)
    } else {
      exchange.finish(.failed(.queue))
    }
  }

  private func connect(for exchange: ClientExchange) {
    open += 1
    ClientBootstrap(group: loop)
      .connectTimeout(.seconds(5))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .connect(to: address)
      .assumeIsolated()
      .whenComplete { result in
        switch result {
        case .failure:
          self.open -= 1
          exchange.finish(.failed(.connect))
          self.next()
        case .success(let channel):
          let connection = ClientConnection(pool: self, channel: channel)
          do {
            try channel.pipeline.syncOperations.addHandler(connection)
          } catch {
            self.open -= 1
            exchange.finish(.failed(.connect))
            return self.next()
          }
          if exchange.isOver { return self.idled(connection) }
          connection.start(exchange)
        }
      }
  }

  /// A connection is free again.
  fileprivate func idled(_ connection: ClientConnection) {
    while let exchange = waiting.popFirst() {
      if !exchange.isOver { return connection.start(exchange) }
    }
    idle.append(connection)
  }

  /// A connection is gone.
  fileprivate func lost(_ connection: ClientConnection) {
    open -= 1
    idle.removeAll { $0 === connection }
    next()
  }

  /// Sends once more, over a connection that was not idle.
  fileprivate func repeatFresh(_ exchange: ClientExchange) {
    exchange.mayRepeat = false
    if open < connectionsMax { connect(for: exchange) } else { waiting.prepend(exchange) }
  }

  private func next() {
    while open < connectionsMax, let exchange = waiting.popFirst() {
      if !exchange.isOver { connect(for: exchange) }
    }
  }

  /// Closes what is idle.
  func close() {
    for connection in idle { connection.close() }
  }
}

/// One connection, confined to the pool's loop: one exchange at a time.
fileprivate final class ClientConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let pool: ClientPool
  private let channel: any Channel
  private var exchange: ClientExchange?
  private var scanner = ResponseScanner(keepsContent: false, isHead: false)
  private var received = ByteBuffer()
  private var used = 0

  init(pool: ClientPool, channel: any Channel) {
    self.pool = pool
    self.channel = channel
  }

  func start(_ exchange: ClientExchange) {
    self.exchange = exchange
    exchange.carrier = self
    used += 1
    scanner = ResponseScanner(keepsContent: exchange.keepsContent, isHead: exchange.isHead)
    channel.writeAndFlush(exchange.request, promise: nil)
    exchange.sent()
  }

  func close() { channel.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var part = unwrapInboundIn(data)
    guard let exchange else { return close() }
    if received.readableBytes == 0 { received = part } else { received.writeBuffer(&part) }
    switch scanner.scan(&received) {
    case .more: break
    case .wrong:
      end(exchange, .failed(.protocol))
      close()
    case .done(let response):
      let mayStay = response.keepsAlive && received.readableBytes == 0
      end(exchange, .answered(response))
      if mayStay { pool.idled(self) } else { close() }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    pool.lost(self)
    guard let exchange else { return }
    if let response = scanner.ended() {
      end(exchange, .answered(response))
    } else if used > 1, exchange.mayRepeat, !exchange.isOver, scanner.isUntouched, received.readableBytes == 0 {
      self.exchange = nil
      exchange.carrier = nil
      pool.repeatFresh(exchange)
    } else {
      end(exchange, .failed(.closed))
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func end(_ exchange: ClientExchange, _ outcome: ClientOutcome) {
    self.exchange = nil
    exchange.finish(outcome)
  }
}
