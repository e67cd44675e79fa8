// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirMessaging
import WeirModel
import WeirProxy
import WeirTelemetry
import WeirWire

/// What an operator asks of queues: looks into them, and steers them, through the state process.
///
/// It waits for nobody but the state process, and is used by the admin listener's threads and by the plane alike.
final class QueueOffice: Sendable {
  /// How long the state process may take; longer than it takes to start again.
  static let patience: Int64 = 5_000_000_000
  static let pageMax = 1000

  private let census = Census<String, Status.Queue>()

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer) { census.enter(plan.queues.map(\.name), server) }

  /// As they were counted last; nil where there is none, or while nobody can say.
  var last: [Status.Queue]? { census.last }

  func count() { census.count { await self.all() } }

  /// The queues of the file, in its order; nil while nobody can say.
  func all() async -> [Status.Queue]? {
    var queues: [Status.Queue] = []
    for name in census.things {
      guard case .counts(let counts) = await census.ask(.look(queue: name, .counts)) else { return nil }
      queues.append(
        Status.Queue(
          name: name, paused: counts.isPaused, waiting: Int(counts.waiting), blocked: Int(counts.blocked),
          delayed: Int(counts.delayed), inFlight: Int(counts.inFlight), dead: Int(counts.dead),
          bytes: Int(counts.bytes),
          oldest: counts.oldest.map { Double($0) / 1000 }))
    }
    return queues
  }

  private static let states: [String: MessageState] = [
    "waiting": .waiting, "delayed": .delayed, "in-flight": .inFlight, "dead": .dead,
  ]

  /// What is no name or no id at all must not reach the state process: it would close the connection, and what else is asked
  /// on it with it.
  private static func mayBeName(_ name: String) -> Bool { (1...QueueLimits.nameBytesMax).contains(name.utf8.count) }
  private static func mayBeID(_ id: String) -> Bool { (1...QueueLimits.idBytesMax).contains(id.utf8.count) }

  /// Nil for a queue or a state that there is none of, or while nobody can say.
  func messages(_ queue: String, _ state: String, _ after: Int64, _ limit: Int) async -> Status.Messages? {
    guard let state = QueueOffice.states[state], after >= 0, QueueOffice.mayBeName(queue) else { return nil }
    let limit = min(max(1, limit), QueueOffice.pageMax)
    let reply = await census.ask(.look(queue: queue, .list(state, after: after, limit: UInt16(limit))))
    guard case .messages(let views) = reply else { return nil }
    return Status.Messages(
      messages: views.map(QueueOffice.message), next: views.count == limit ? views.last?.sequence : nil)
  }

  func message(_ queue: String, _ id: String) async -> Status.Message? {
    guard QueueOffice.mayBeName(queue), QueueOffice.mayBeID(id),
      case .message(let view?) = await census.ask(.look(queue: queue, .message(id: Array(id.utf8))))
    else { return nil }
    var message = QueueOffice.message(view)
    message.fields = String(decoding: view.fields, as: UTF8.self).split(separator: "\r\n").map(String.init)
    if let text = String(validating: view.body, as: UTF8.self) {
      message.body = text
    } else {
      message.base64 = Data(view.body).base64EncodedString()
    }
    return message
  }

  private static func message(_ view: MessageView) -> Status.Message {
    func time(_ milliseconds: Int64) -> String { WallTime(milliseconds: milliseconds).rfc3339 }
    func text(_ bytes: [UInt8]) -> String? { bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self) }
    var message = Status.Message(
      id: String(decoding: view.id, as: UTF8.self), state: Answering.word(view.state), priority: Int(view.priority),
      attempts: Int(view.attempts), enqueuedAt: time(view.enqueuedAt), bytes: Int(view.bytes),
      history: view.history.map {
        Status.Message.Attempt(
          number: Int($0.attempt), at: time($0.at), latency: Int($0.latency), status: Int($0.status), error: $0.error)
      })
    message.key = text(view.key)
    message.tenant = text(view.tenant)
    message.result = text(view.result)
    if view.state == .delayed || view.state == .waiting { message.dueAt = time(view.dueAt) }
    message.reason = view.death.map(Answering.word)
    return message
  }

  // MARK: - Orders

  func order(_ queue: String, _ word: Status.QueueOrder.Word, _ order: Status.QueueOrder) async -> Status.QueueOutcome {
    guard QueueOffice.mayBeName(queue) else { return refused(queue, .unknownQueue) }
    let ids = order.ids ?? []
    if ids.count > QueueLimits.batchMax { return refused("at most \(QueueLimits.batchMax) messages at a time") }
    let steer: QueueSteer
    switch word {
    case .pause: steer = .pause
    case .resume: steer = .resume
    case .purge: steer = .purge(all: order.all ?? false)
    case .redrive where order.ids == nil: steer = .redrive([])
    case .redrive, .remove:
      var sequences: [Int64] = []
      for id in ids {
        guard QueueOffice.mayBeID(id) else { return refused("the queue '\(queue)' has no message '\(id)'") }
        switch await census.ask(.look(queue: queue, .message(id: Array(id.utf8)))) {
        case .message(let view?): sequences.append(view.sequence)
        case .message(nil): return refused("the queue '\(queue)' has no message '\(id)'")
        case let other: return refused(queue, other)
        }
      }
      if sequences.isEmpty { return refused("no messages are named") }
      steer = word == .redrive ? .redrive(sequences) : .remove(sequences)
    }
    let reply = await census.ask(.steer(queue: queue, steer))
    guard case .steered(let count) = reply else { return refused(queue, reply) }
    let messages = "\(count) message\(count == 1 ? "" : "s")"
    let text =
      switch word {
      case .pause: "'\(queue)' is paused: nothing is taken out of it"
      case .resume: "'\(queue)' goes on"
      case .redrive: "\(messages) of '\(queue)' \(count == 1 ? "waits" : "wait") again"
      case .remove, .purge: "\(messages) of '\(queue)' \(count == 1 ? "is" : "are") gone"
      }
    return Status.QueueOutcome(isDone: true, count: Int(count), text: text)
  }

  private func refused(_ text: String) -> Status.QueueOutcome { Status.QueueOutcome(isDone: false, text: text) }

  private func refused(_ queue: String, _ reply: StateReply?) -> Status.QueueOutcome {
    switch reply {
    case .unknownQueue:
      let names = census.things
      return refused(
        "there is no queue '\(queue)'" + (names.isEmpty ? "" : "; there are: \(names.joined(separator: ", "))"))
    case .failed(.full): return refused("there is no room on the disk")
    default: return refused("the state process does not answer; see logs/weir.state.log in the state folder")
    }
  }
}

extension Plane {
  /// What waits in queues, for metrics.
  static func queueFamilies(_ queues: [Status.Queue]) -> [Snapshot.Family] {
    if queues.isEmpty { return [] }
    var messages = Snapshot.Family("weir_queue_messages", .gauge, "Messages of a queue, by state.")
    var blocked = Snapshot.Family("weir_queue_blocked", .gauge, "Waiting messages behind another one of their key.")
    var bytes = Snapshot.Family("weir_queue_bytes", .gauge, "Payload of messages that wait, are delayed or in flight.")
    var oldest = Snapshot.Family(
      "weir_queue_oldest_seconds", .gauge, "How long the oldest message waits that may be taken; 0 when none does.")
    var paused = Snapshot.Family("weir_queue_paused", .gauge, "1 while nothing is taken out of the queue.")
    for queue in queues {
      let label = [(name: "queue", value: queue.name)]
      for (state, count) in [
        ("waiting", queue.waiting), ("delayed", queue.delayed), ("in-flight", queue.inFlight), ("dead", queue.dead),
      ] {
        messages.add(label + [(name: "state", value: state)], Double(count))
      }
      blocked.add(label, Double(queue.blocked))
      bytes.add(label, Double(queue.bytes))
      oldest.add(label, queue.oldest ?? 0)
      paused.add(label, queue.paused ? 1 : 0)
    }
    return [messages, blocked, bytes, oldest, paused]
  }
}
