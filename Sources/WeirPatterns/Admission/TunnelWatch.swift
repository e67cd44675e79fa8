// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Watches one connection that lasts (a WebSocket, a TCP connection): how long it is silent, how fast its messages come.
///
/// Source: HAProxy's `timeout tunnel` (configuration manual, §4.2) for the silence, ``GCRA`` for the messages. A request
/// ends by itself; a tunnel whose peer has gone without a word would hold its two sockets for ever, and one that talks
/// without pause has passed the route's rate limit only once, with its handshake.
///
///     moved ──▶ nextWake = now + idle ── nothing moved ──▶ isIdle: close 1001
///     message ──▶ allowed, or too fast: close 1008
///
/// ## Invariants
/// 1. It is idle exactly when nothing has moved for `idle`, in either direction.
/// 2. In any window of length t at most ⌊burst + rate·t⌋ messages are allowed.
/// 3. After a message that was refused the tunnel is over; nothing counts any more.
public struct TunnelWatch: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// A tunnel in which nothing moves for so long is closed: `websocket.idle` of the file.
    ///
    /// Longer than the pings of the servers in wide use (websockets 20 s, Socket.IO 25 s, Phoenix 30 s) and than the
    /// 60 s of nginx, at which silent tunnels break that nobody meant to break.
    public var idle = Duration.seconds(300)
    /// Messages of the client in the long run; nil for no limit.
    public var messages: Rate?
    /// Messages at once; nil for one second's worth.
    public var burst: Int?
    /// Bytes of one message of the client, all its frames together, compressed if it is.
    ///
    /// `max_size` of Python's websockets is the same; ws of Node takes 100 MiB.
    public var messageBytes: Int64 = 1 << 20
    /// Tunnels of a route that are open at the same time on this node; nil for as many as it may have requests.
    public var atOnce: Int?

    public init() {}
  }

  private let idle: Int64
  private let rate: GCRA?
  private var cell: Int64 = 0
  private var movedAt: Int64
  private var isOver = false

  public init(_ settings: Settings, now: Instant) {
    idle = settings.idle.inNanoseconds
    rate = settings.messages.map { GCRA(GCRA.Settings(rate: $0, burst: settings.burst)) }
    movedAt = now.nanoseconds
  }

  /// When nothing will have moved for too long, if nothing moves.
  public var nextWake: Instant { Instant(nanoseconds: movedAt &+ idle) }

  public func isIdle(now: Instant) -> Bool { now >= nextWake }

  /// Bytes have come, from either side.
  public mutating func moved(now: Instant) { movedAt = now.nanoseconds }

  /// A message of the client begins; false when it comes too fast.
  public mutating func message(now: Instant) -> Bool {
    if isOver { return false }
    guard let rate else { return true }
    switch rate.decide(cell: cell, now: now) {
    case .allow(let cell, _):
      self.cell = cell
      return true
    case .refuse:
      isOver = true
      return false
    }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? { idle > 0 ? nil : "a tunnel that may never be silent" }
}
