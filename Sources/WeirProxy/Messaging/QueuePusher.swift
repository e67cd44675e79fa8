// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
package import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirPlatform
import WeirWire

/// A queue whose messages are brought to a service.
package struct QueuePush: Sendable, Equatable {
  package var name: String
  /// Along which the service is called.
  package var edge: Int
  /// The service, for the `Host` field.
  package var service: String
  package var method: String
  package var path: String
  package var settings: QueueDelivery.Settings
  /// Of a log's group: what feeds it.
  package var source: Source?

  /// A log, and the name of its group.
  package struct Source: Sendable, Equatable {
    package var log: String
    package var group: String
    /// A stream, and not a topic.
    package var isStream: Bool

    package init(log: String, group: String, isStream: Bool) {
      self.log = log
      self.group = group
      self.isStream = isStream
    }
  }

  package init(
    name: String, edge: Int, service: String, method: String = "POST", path: String,
    settings: QueueDelivery.Settings = .init(), source: Source? = nil
  ) {
    self.name = name
    self.edge = edge
    self.service = service
    self.method = method
    self.path = path
    self.settings = settings
    self.source = source
  }
}

/// Takes messages of one queue from the state process, has its service work on them, and says how it went.
///
/// Confined to its loop; each loop has one for each queue that is delivered on it (`QueueDelivery.Settings.isDelivered(onLoop:)`),
/// and the state process sees to the bounds over all of them.
/// What to take, and what an answer means, is decided by ``QueueDelivery``; this carries it out.
final class QueuePusher {
  /// How long an ask waits for messages; longer than that a dead connection would not be noticed.
  static let wait: Int64 = 20_000
  /// Bytes of a service's answer that are read; more of it is not kept anywhere.
  static let answerBytesMax = 64 << 10

  private unowned let loop: ProxyLoop
  private var push: QueuePush
  private var delivery: QueueDelivery
  private var random: SeededRandom
  private let settler: Settler

  init(_ push: QueuePush, loop: ProxyLoop) {
    self.push = push
    self.loop = loop
    delivery = QueueDelivery(push.settings)
    random = SeededRandom(seed: loop.random.next(), stream: "queue \(push.name)")
    settler = Settler(loop: loop)
  }

  /// The plan has changed; what is under way ends by the old one.
  func moved(to push: QueuePush) {
    self.push = push
    delivery.moved(to: push.settings)
  }

  /// Ten times a second, and whenever a message is done.
  func ask(now: Instant) {
    guard let state = loop.state else { return }
    let count = delivery.ask(now: now)
    if count == 0 { return }
    let request = StateRequest.lease(
      queue: push.name, max: UInt16(min(count, QueueLimits.batchMax)), visibility: nil, wait: QueuePusher.wait)
    state.ask(request, within: QueuePusher.wait * 1_000_000, now: now) { [self] in leased($0) }
  }

  /// Nothing more is taken; what is under way ends.
  func stop() { delivery.stop() }

  private func leased(_ reply: StateReply?) {
    let now = loop.now()
    guard case .leased(let messages) = reply else { return delivery.unanswered(now: now, using: &random) }
    let leased = delivery.leased(attempts: messages.map(\.attempt))
    for index in leased.back { settle(messages[index], .giveBack) }
    for call in leased.calls {
      let together = call.map { messages[$0] }
      if delivery.isStopped {
        delivery.declined()
        for message in together { settle(message, .giveBack) }
      } else {
        begin(together, now: now)
      }
    }
    ask(now: now)
  }

  // MARK: - The call

  private func begin(_ messages: [LeasedMessage], now: Instant) {
    let content = PushedContent(messages, push, sample: loop.epoch.configuration.traceSample)
    var request = ByteBuffer()
    // HTTP/1.0: the answer comes without chunks and ends with its connection.
    request.writeString("\(push.method) \(push.path) HTTP/1.0\r\nHost: \(push.service)\r\n")
    request.writeBytes(content.fields)
    request.writeString("Content-Length: \(content.body.count)\r\n\r\n")
    request.writeBytes(content.body)
    let call = InnerCall(edge: push.edge, bytesMax: QueuePusher.answerBytesMax, lines: content.lines) { [self] call in
      ended(call, messages, key: content.key, startedAt: now)
      loop.delivered()
    }
    loop.deliveries += 1
    call.begin(request, by: loop.epoch, on: loop, listener: -1, peer: PeerAddress())
  }

  private func ended(_ call: InnerCall, _ messages: [LeasedMessage], key: [UInt8], startedAt: Instant) {
    let now = loop.now()
    let head = call.headOfAnswer(loop)
    let status = head?.status ?? 0
    let retryAfter = head.flatMap {
      $0.retryAfterSeconds < 0 ? nil : min($0.retryAfterSeconds, 1 << 31) * 1_000_000_000
    }
    let verdict = delivery.ended(
      // An answer whose rest nobody reads is an answer.
      status: status, reason: call.isOverlong && status > 0 ? .none : call.reason, attempts: call.attempts,
      retryAfter: retryAfter, messages: messages.count, now: now, using: &random)
    let said: Settlement.Verdict
    switch verdict {
    case .ack: said = .ack(result: QueuePusher.result(call, head))
    case .giveBack: said = .giveBack
    case .retry, .refused:
      var wait: Int64?
      if case .retry(let after) = verdict { wait = after.map { $0 / 1_000_000 } }
      var error = call.reason == .none ? "\(status) \(StatusPhrase.of(status))" : "\(call.reason.name)"
      if messages.count > 1 { error += ", for \(messages.count) in one request" }
      said = .nack(
        error: error, status: call.reason == .none ? status : 0, latency: now.since(startedAt) / 1_000_000,
        retryAfter: wait, isFinal: verdict == .refused)
    }
    for message in messages { settle(message, said) }
    if loop.keepsAccess { note(call, messages, key, startedAt, status, AttemptEntry.Outcome(verdict), now) }
    ask(now: now)
  }

  private func note(
    _ call: InnerCall, _ messages: [LeasedMessage], _ key: [UInt8], _ startedAt: Instant, _ status: UInt16,
    _ outcome: AttemptEntry.Outcome, _ now: Instant
  ) {
    let work =
      push.source.map { AttemptEntry.Work.group(log: $0.log, isStream: $0.isStream, group: $0.group) }
      ?? .queue(push.name)
    loop.keep(
      AttemptEntry(
        call, of: work, id: messages[0].entry?.id ?? messages[0].message.id, key: key,
        attempt: Int(messages.map(\.attempt).max() ?? 1), count: messages.count, startedAt: startedAt,
        duration: now.since(startedAt), outcome: outcome, status: status))
  }

  /// What the service has said of a message that it has done, where that is short: for who asks what became of it.
  private static func result(_ call: InnerCall, _ head: ResponseHead?) -> [UInt8] {
    guard let head, !call.isOverlong else { return [] }
    let body = call.bytes.readableBytesView.dropFirst(head.length)
    return body.count <= QueueLimits.resultBytesMax ? Array(body) : []
  }

  private func settle(_ message: LeasedMessage, _ verdict: Settlement.Verdict) {
    settler.settle(message, verdict, in: push.name)
  }
}

extension ProxyLoop {
  /// The queues of the newest plan.
  func bringQueues(_ configuration: ProxyConfiguration) {
    messagingAPI = configuration.messaging
    road = configuration.road
    let pushes = configuration.pushes.filter { $0.settings.isDelivered(onLoop: index) }
    for (name, pusher) in pushers where !pushes.contains(where: { $0.name == name }) {
      pusher.stop()
      pushers[name] = nil
    }
    for push in pushes {
      if let pusher = pushers[push.name] {
        pusher.moved(to: push)
      } else {
        pushers[push.name] = QueuePusher(push, loop: self)
      }
    }
  }

  func stopQueues() { for pusher in pushers.values { pusher.stop() } }
}
