// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// A request and its copy: what became of each, until both are over.
///
/// Confined to its loop.
final class MirrorWatch {
  /// One of the two.
  struct Side {
    var answer = MirrorReport.Answer(hash: 0xcbf2_9ce4_8422_2325)
    var isOver = false
    private var chunks = ChunkedScanner()

    /// Bytes of the body as they came: what counts is the data, however it was framed.
    mutating func note(_ bytes: Span<UInt8>, _ framing: Framing) {
      guard case .chunked = framing else { return hash(bytes, 0..<bytes.count) }
      var at = 0
      while case .data(let run) = chunks.next(bytes, from: &at) { hash(bytes, run) }
    }

    /// FNV-1a (RFC 9923), 64 bits.
    private mutating func hash(_ bytes: Span<UInt8>, _ run: Range<Int>) {
      var value = answer.hash
      for i in run { value = (value ^ UInt64(bytes[i])) &* 0x0000_0100_0000_01b3 }
      answer.hash = value
      answer.bytes += Int64(run.count)
    }

    mutating func ended(status: UInt16, duration: Int64) {
      isOver = true
      answer.status = status
      answer.duration = duration
    }
  }

  let route: Int
  let request: String
  let startedAt: Instant
  let comparesBodies: Bool
  var given = Side()
  var copied = Side()
  /// The caller went away, or its answer cannot be read on the way: there is nothing to compare with.
  var isVoid = false

  init(route: Int, request: String, startedAt: Instant, comparesBodies: Bool) {
    self.route = route
    self.request = request
    self.startedAt = startedAt
    self.comparesBodies = comparesBodies
  }
}

extension ClientConnection {
  /// Sends a copy of the request to its route's mirror, if its share takes it and it is whole at hand.
  func mirror(compares: Bool, now: Instant) {
    guard watch == nil, !isCopy, tunnel == nil,
      let edge = epoch.flows.mirrorEdge(route: facts.route, hash: trace.traceLow)
    else { return }
    let route = Int(facts.route)
    switch head.framing {
    // What it became on its way is no request that could be sent as it stands.
    case _ where web != nil:
      epoch.mirrors[route]?.skip()
      return
    case .none, .untilClose: break
    case .length where keepsBody: break
    case .length, .chunked:
      epoch.mirrors[route]?.skip()
      return
    }
    let watch = MirrorWatch(route: route, request: requestLine(), startedAt: now, comparesBodies: compares)
    self.watch = watch
    let copy = ClientConnection(loop: loop, kind: .gateway(epoch.trie), listener: listener, peer: peer, way: .nowhere)
    copy.take(epoch)
    loop.add(copy)
    copy.beginCopy(of: self, watch, edge, now: now)
  }

  private func beginCopy(of other: ClientConnection, _ watch: MirrorWatch, _ edge: Int, now: Instant) {
    isCopy = true
    self.watch = watch
    head = other.head
    stage = .waiting
    startedAt = now
    request = other.request
    tailStart = other.tailStart
    bodyStart = other.bodyStart
    hasTail = true
    keepsBody = true
    self.edge = edge
    trace = other.trace
    facts = RequestFacts(method: other.facts.method, body: .none)
    let (slot, step) = epoch.flows.begin(call: edge, facts: facts, now: now)
    call = slot
    carry(step, now: now)
    armCall()
    epoch.syncIfUrgent(edge, now: now)
  }

  /// Method and path, for a report.
  private func requestLine() -> String {
    var bytes: [UInt8] = []
    var spaces = 0
    request.withUnsafeReadableBytes { all in
      for byte in all.prefix(200) {
        if byte == 0x20 { spaces += 1 }
        // The query may hold secrets.
        if spaces == 2 || byte == 0x3f || byte == 0x0d { break }
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What has come of an answer's body, for the comparison.
  func note(_ upstream: UpstreamConnection, _ count: Int, _ watch: MirrorWatch) {
    guard watch.comparesBodies, count > 0 else { return }
    let input = upstream.input
    let bytes = input.readableBytesUInt8Span.extracting(0..<count)
    if isCopy {
      watch.copied.note(bytes, upstream.head.framing)
    } else {
      watch.given.note(bytes, upstream.head.framing)
    }
  }

  /// The answer to the caller is over.
  func given(_ watch: MirrorWatch, status: UInt16, now: Instant) {
    self.watch = nil
    watch.isVoid = watch.isVoid || status == 499
    watch.given.ended(status: status, duration: now.since(watch.startedAt))
    epoch.compare(watch, now: now)
  }

  /// The copy's call is over: with an answer, or without.
  func copyEnded(_ step: CallStep, now: Instant) {
    guard let watch else { return }
    self.watch = nil
    var answered: UInt16 = 0
    if case .finish = step.action { answered = status }
    // Too many at the mirror: nobody was asked.
    if attempts == 0 { watch.isVoid = true }
    watch.copied.ended(status: answered, duration: now.since(watch.startedAt))
    stage = .closed
    loop.remove(self)
    epoch.compare(watch, now: now)
  }
}

extension Epoch {
  /// Counts a pair of which both are over.
  func compare(_ watch: MirrorWatch, now: Instant) {
    guard watch.given.isOver, watch.copied.isOver else { return }
    if watch.isVoid {
      mirrors[watch.route]?.skip()
      return
    }
    let (given, copied) = (watch.given.answer, watch.copied.answer)
    let difference = MirrorReport.difference(given, copied, bodies: watch.comparesBodies)
    mirrors[watch.route]?.note(given, copied, difference)
    if difference != .same {
      mirrors[watch.route]?.keep(
        MirrorReport.Example(
          difference: difference, given: given, mirrored: copied, request: watch.request, at: now))
    }
  }
}
