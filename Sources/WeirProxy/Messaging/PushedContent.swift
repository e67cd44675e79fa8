// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirMessaging
import WeirWire

/// What a service is sent of a message, or of several in one request.
struct PushedContent {
  /// Whole header lines that came with the message, and its key at the service.
  var fields: [UInt8]
  /// Whole header lines that are ours to say.
  var lines: [UInt8]
  var body: [UInt8]
  /// By which the service knows it again; empty where it cannot.
  var key: [UInt8] = []

  /// `sample`: the share of traces that are recorded, of those that begin here.
  init(_ messages: [LeasedMessage], _ push: QueuePush, sample: Double) {
    let message = messages[0]
    if let source = push.source {
      let (log, isStream, group) = (source.log, source.isStream, source.group)
      // Who says `batch` gets a list, also of one.
      let delivery =
        push.settings.batch > 1
        ? GroupDelivery(batch: messages, log: log, isStream: isStream, group: group)
        : GroupDelivery(message, log: log, isStream: isStream, group: group)
      (fields, lines, body) = (delivery.fields, delivery.lines, delivery.body)
      if let key = delivery.idempotencyKey {
        fields += PushedContent.line("Idempotency-Key", key)
        self.key = key
      }
      // Several may be of several traces: their request begins one of its own.
      if push.settings.batch == 1 {
        fields = MessageTrace(message, of: log, sample: sample).written(into: fields)
      }
      return
    }
    // The message's id is its key at the service: what is delivered again is known again.
    key = message.message.id
    fields = MessageTrace(message, of: push.name, sample: sample).written(into: message.message.fields)
    fields += PushedContent.line("Idempotency-Key", key)
    body = message.message.body
    lines = PushedContent.line("Weir-Queue", Array(push.name.utf8))
    lines += PushedContent.line("Weir-Id", message.message.id)
    if !message.message.key.isEmpty { lines += PushedContent.line("Weir-Key", message.message.key) }
    let enqueued = WallTime(milliseconds: message.enqueuedAt).rfc3339
    lines += Array("Weir-Attempt: \(message.attempt)\r\nWeir-Enqueued-At: \(enqueued)\r\n".utf8)
  }

  private static func line(_ name: String, _ value: [UInt8]) -> [UInt8] {
    Array("\(name): ".utf8) + value + [0x0d, 0x0a]
  }
}
