// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirMessaging
import WeirWire

/// What a service is sent of a message, or of several in one request.
struct PushedContent {
  /// Whole header lines that came with the message, and its key at the service.
  var fields: [UInt8]
  /// Whole header lines that are ours to say.
  var lines: [UInt8]
  var body: [UInt8]

  init(_ messages: [LeasedMessage], _ push: QueuePush) {
    let message = messages[0]
    fields = message.message.fields
    // The message's id is its key at the service: what is delivered again is known again.
    fields += Array("Idempotency-Key: ".utf8) + message.message.id + Array("\r\n".utf8)
    body = message.message.body
    lines = Array("Weir-Queue: \(push.name)\r\nWeir-Id: ".utf8)
    lines += message.message.id
    if !message.message.key.isEmpty {
      lines += Array("\r\nWeir-Key: ".utf8)
      lines += message.message.key
    }
    let enqueued = WallTime(milliseconds: message.enqueuedAt).rfc3339
    lines += Array("\r\nWeir-Attempt: \(message.attempt)\r\nWeir-Enqueued-At: \(enqueued)\r\n".utf8)
  }
}
