// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirPlatform

/// The door between a connection and its channel: all that a connection writes, and when it reads on.
///
/// Two ways lead out. **Raw:** nothing stands between the connection and its socket, so a flush gives the bytes to the
/// kernel itself, and a read is asked of the channel's core: NIO's pipeline and its queue of writes cost a fifth of a
/// request's user instructions (measured with callgrind). Only what the socket does not take at once goes to NIO, which
/// waits until it can be written. **Pipeline:** other handlers stand before the connection (TLS), or the channel is a
/// stream of another one (HTTP/2): everything passes through them.
///
/// Confined to its loop. A connection keeps one for its whole life; it is `attach`ed while it has a channel.
///
/// ## Invariants
/// 1. Bytes go out in the order of the writes: nothing is sent past NIO while NIO still has bytes of ours (`isBehind`).
/// 2. A buffer is held at most from its write to the next flush: the loop's buffers are written anew after it.
/// 3. The descriptor is used only while the channel is attached, so never after it was closed.
final class Outlet {
  /// What stands between the connection and its socket.
  ///
  /// `nowhere`: there is no channel, and what is written is dropped; a copy of a request has no caller. `memory`: there is
  /// no socket; another part of the gateway takes the bytes.
  enum Way: UInt8 { case raw, pipeline, nowhere, memory }

  private let way: Way
  private(set) var context: ChannelHandlerContext?
  /// The channel's own end of the pipeline; raw only.
  private var core: (any ChannelCore)?
  /// The socket, or -1 when bytes can only go through NIO.
  private var descriptor: Int32 = -1
  /// Of a connection without a socket.
  private var sink: OutletSink?
  /// Written, not flushed.
  private var first: ByteBuffer?
  private var second: ByteBuffer?
  /// NIO may still have bytes of ours.
  private var isBehind = false
  private(set) var isReading = true

  init(_ way: Way) { self.way = way }

  // MARK: - The channel comes and goes

  func attach(_ context: ChannelHandlerContext) {
    self.context = context
    guard way == .raw else { return }
    core = context.channel._channelCore
    // Fails only on a channel that is closed already, or that is none of a socket: then NIO's way remains.
    descriptor =
      (try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable { (handle: NIOBSDSocket.Handle) in handle })
      ?? -1
    // Reads are asked for one by one: asked by NIO itself they take the way through the pipeline.
    try? context.channel.syncOptions?.setOption(.autoRead, value: false)
  }

  /// The connection has no socket: what it writes goes here.
  func attach(_ sink: OutletSink) { self.sink = sink }

  /// The channel is active: reading begins.
  func begin() { if isReading { readOn() } }

  func detach() {
    context = nil
    core = nil
    descriptor = -1
    sink = nil
    first = nil
    second = nil
  }

  var isAttached: Bool { context != nil || sink != nil }

  /// Where the peer has reached us.
  var localAddress: SocketAddress? { context?.channel.localAddress }

  // MARK: - Reading

  /// Has the channel read, or leave what comes in the kernel; one read that is asked for already may still come.
  func setReading(_ on: Bool) {
    if isReading == on { return }
    isReading = on
    switch way {
    case .raw: if on { readOn() }
    case .pipeline:
      // Fails only on a closed channel, which reads nothing either way.
      try? context?.channel.syncOptions?.setOption(.autoRead, value: on)
      // A stream of HTTP/2 does not begin by itself.
      if on { context?.read() }
    case .nowhere, .memory: break
    }
  }

  /// What the channel had has been read: it goes on reading, unless it was told not to.
  @inline(__always)
  func hasRead() { if isReading && way == .raw { readOn() } }

  @inline(__always)
  private func readOn() { core?.read0() }

  // MARK: - Writing

  @inline(__always)
  func write(_ buffer: ByteBuffer) {
    if descriptor >= 0 && !isBehind {
      if first == nil {
        first = buffer
        return
      }
      if second == nil {
        second = buffer
        return
      }
    }
    queue(buffer)
  }

  /// A write that, when nothing stands before it, is in the socket at once and is not held.
  ///
  /// It never leads back into the connection: that, and what the socket did not take, is left to the next flush.
  @inline(__always)
  func writeThrough(_ buffer: inout ByteBuffer) {
    guard descriptor >= 0, !isBehind, first == nil else { return write(buffer) }
    let sent = buffer.withUnsafeReadableBytes { SocketBytes.send($0, to: descriptor) } ?? 0
    if sent != buffer.readableBytes { leave(buffer, nil, sent) }
  }

  /// Gives the bytes to NIO, behind what is held; or holds them when NIO has nothing of ours any more.
  @inline(never)
  private func queue(_ buffer: ByteBuffer) {
    guard way == .raw, let core else {
      if let sink { return sink.receive(buffer) }
      context?.write(NIOAny(buffer), promise: nil)
      return
    }
    if descriptor >= 0 && isBehind && buffered == 0 {
      isBehind = false
      first = buffer
      return
    }
    queueHeld(core)
    core.write0(NIOAny(buffer), promise: nil)
  }

  private func queueHeld(_ core: any ChannelCore) {
    isBehind = true
    if let held = first.take() { core.write0(NIOAny(held), promise: nil) }
    if let held = second.take() { core.write0(NIOAny(held), promise: nil) }
  }

  /// Bytes that NIO has taken from us and not written.
  private var buffered: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

  /// Sends what was written; the channel may be found dead and detached by it.
  @inline(__always)
  func flush() {
    guard let buffer = first.take() else { return flushChannel() }
    if let next = second.take() { return flush(buffer, next) }
    let sent = buffer.withUnsafeReadableBytes { SocketBytes.send($0, to: descriptor) }
    if sent != buffer.readableBytes {
      leave(buffer, nil, sent ?? 0)
      core?.flush0()
    }
  }

  @inline(never)
  private func flush(_ buffer: ByteBuffer, _ next: ByteBuffer) {
    let sent = buffer.withUnsafeReadableBytes { head in
      next.withUnsafeReadableBytes { SocketBytes.send(head, $0, to: descriptor) }
    }
    if sent != buffer.readableBytes + next.readableBytes {
      leave(buffer, next, sent ?? 0)
      core?.flush0()
    }
  }

  @inline(never)
  private func flushChannel() {
    guard way == .raw else {
      context?.flush()
      return
    }
    if isBehind || descriptor < 0 { core?.flush0() }
  }

  /// The socket has taken `sent` bytes of the two: the rest is NIO's, which also finds out what is wrong with a socket
  /// that takes none.
  @inline(never)
  private func leave(_ buffer: ByteBuffer, _ next: ByteBuffer?, _ sent: Int) {
    guard let core else { return }
    isBehind = true
    var left = sent
    for part in [buffer, next] {
      guard var part else { continue }
      let skip = min(left, part.readableBytes)
      left -= skip
      part.moveReaderIndex(forwardBy: skip)
      if part.readableBytes > 0 { core.write0(NIOAny(part), promise: nil) }
    }
  }

  /// Whether more may be written before something has gone out; `channelWritabilityChanged` tells when it may again.
  var isWritable: Bool {
    if way == .raw && !isBehind { return context != nil }
    if way == .memory { return sink != nil }
    return context?.channel.isWritable ?? (way == .nowhere)
  }

  // MARK: - The end

  /// Flushes, and calls `body` when all has gone out, or never will.
  func whenWritten<Owner>(_ owner: Owner, _ body: @escaping @Sendable (Owner) -> Void) {
    flush()
    if sink != nil { return body(owner) }
    guard let context else { return }
    let promise = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(owner, eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { _ in body(bound.value) }
    isBehind = true
    context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
  }

  /// Says to the peer that nothing more comes; what has been flushed still goes out.
  func closeOutput() {
    if let sink { return sink.close() }
    context?.close(mode: .output, promise: nil)
  }

  /// Closes now, whatever is on its way.
  func close() {
    if let sink { return sink.close() }
    context?.close(promise: nil)
  }
}

/// Where the bytes of a connection go that has no socket; confined to its loop.
final class OutletSink {
  let receive: (ByteBuffer) -> Void
  let close: () -> Void

  init(receive: @escaping (ByteBuffer) -> Void, close: @escaping () -> Void) {
    self.receive = receive
    self.close = close
  }
}
