// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// A WebSocket between a client and an instance, from its handshake to its end: what is known of it beside the two
/// connections, which are the client's.
///
/// Confined to its loop. One of these is made for a request that asks for a WebSocket, so other requests pay nothing.
///
///     asked ─▶ handshake ─101─▶ open ─▶ closing ─▶ over      (asked: the request is under way, as any other)
///                └ anything else is an ordinary answer
final class Tunnel {
  /// One direction: the frames that come from one side, and what goes to the other.
  struct Direction {
    var frames: WebSocketFrames
    /// Nothing goes on any more: a close frame was the last.
    var isClosed = false
    /// The code of a close frame of ours that waits for the end of the frame under way; 0 for none.
    var pending: UInt16 = 0
    /// The close frame of the side that sends in this direction has come.
    var hasClosed = false
    /// What stands before the next frame has been sent on, whatever was scanned of it.
    var isStopped = false

    init(isClient: Bool, reserved: WebSocketFrames.Reserved, most: Int64) {
      frames = WebSocketFrames(isClient: isClient, reserved: reserved, messageBytesMax: most)
    }
  }

  /// Why a direction ends before its peer wanted.
  enum Problem {
    case frames(WebSocketFrames.Mistake)
    case tooFast
  }

  let route: Int
  let handshake: WebSocketHandshake
  let settings: TunnelWatch.Settings
  var watch: TunnelWatch
  var fromClient: Direction
  var fromServer: Direction
  /// It counts among those that its route may have.
  var isCounted = false
  /// The 101 has passed.
  var isOpen = false
  /// We have ended it: close frames are out, or wait for a frame to end.
  var isClosing = false
  /// Why we did.
  var reason = Reason.none
  /// When it is closed because this node stops; `Int64.max` while it does not.
  var drainAt = Int64.max

  init(route: Int, handshake: WebSocketHandshake, settings: TunnelWatch.Settings) {
    self.route = route
    self.handshake = handshake
    self.settings = settings
    watch = TunnelWatch(settings, now: .zero)
    fromClient = Direction(isClient: true, reserved: .none, most: settings.messageBytes)
    fromServer = Direction(isClient: false, reserved: .none, most: .max)
  }

  /// The handshake is done.
  func open(_ reserved: WebSocketFrames.Reserved, now: Instant) {
    watch = TunnelWatch(settings, now: now)
    fromClient = Direction(isClient: true, reserved: reserved, most: settings.messageBytes)
    fromServer = Direction(isClient: false, reserved: reserved, most: .max)
  }

  /// A close frame has passed, or has been sent by us.
  var isEnding: Bool { isClosing || fromClient.isClosed || fromServer.isClosed }

  /// Takes out of `input` what may go on in a direction; what follows a close frame is dropped.
  func pass(
    _ way: ReferenceWritableKeyPath<Tunnel, Direction>, _ input: inout ByteBuffer, now: Instant
  ) -> (part: ByteBuffer?, problem: Problem?) {
    let isClient = way == \Tunnel.fromClient
    let whole = input
    let bytes = whole.readableBytesUInt8Span
    var at = 0
    if self[keyPath: way].pending != 0, self[keyPath: way].frames.left > 0 {
      // Only to the end of this frame: ours comes then.
      let count = Int(min(self[keyPath: way].frames.left, UInt64(bytes.count)))
      _ = self[keyPath: way].frames.next(bytes.extracting(0..<count), from: &at)
      return (input.readSlice(length: at), nil)
    }
    var goesOn = 0
    var problem: Problem?
    scanning: while true {
      let event = self[keyPath: way].frames.next(bytes, from: &at)
      goesOn = at
      switch event {
      case .message:
        if isClient, !isClosing, !watch.message(now: now) {
          goesOn = at - self[keyPath: way].frames.headerBytes
          self[keyPath: way].isStopped = true
          problem = .tooFast
          break scanning
        }
      case .ping, .pong: break
      case .close: self[keyPath: way].hasClosed = true
      case .needMore: break scanning
      case .refused(let mistake):
        problem = .frames(mistake)
        break scanning
      }
      if self[keyPath: way].frames.isOver { break scanning }
    }
    let isOver = self[keyPath: way].frames.isOver || problem != nil
    let part = self[keyPath: way].isClosed || goesOn == 0 ? nil : whole.getSlice(at: whole.readerIndex, length: goesOn)
    // A peer's own close frame has gone on: nothing comes behind it.
    if self[keyPath: way].frames.isOver && problem == nil { self[keyPath: way].isClosed = true }
    input.moveReaderIndex(forwardBy: isOver ? whole.readableBytes : at)
    return (part, problem)
  }
}

/// What a loop has counted of a route's tunnels.
package struct TunnelCount: Sendable, Equatable {
  /// Open now.
  package var open = 0
  package var opened: UInt64 = 0
  /// Messages of clients and of services.
  package var messagesIn: UInt64 = 0
  package var messagesOut: UInt64 = 0

  package init() {}

  package static func += (a: inout TunnelCount, b: TunnelCount) {
    a.open += b.open
    a.opened &+= b.opened
    a.messagesIn &+= b.messagesIn
    a.messagesOut &+= b.messagesOut
  }
}
