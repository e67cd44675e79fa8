// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirWire

/// What a question to the state process brings in, for who plays faults with messages on their way.
package enum Arrival {
  /// The queue or log that messages are brought to, and a number made of what the first of them is; nil: it brings none.
  package static func of(_ request: StateRequest) -> (to: String, key: UInt64)? {
    switch request {
    case .append(let log, let entries): entries.first.map { (log, number($0.key, $0.body)) }
    case .enqueue(let queue, let messages): messages.first.map { (queue, number($0.key, $0.body)) }
    default: nil
    }
  }

  /// The same messages once more, as messages of their own: from a sender that has heard no answer, and gives new ids.
  package static func again(
    _ request: StateRequest, now: WallTime, using random: inout SeededRandom
  ) -> StateRequest? {
    switch request {
    case .append(let log, var entries):
      for i in entries.indices {
        entries[i].id = MessageID.next(now, &random)
        // Of a stream its version is another one by then.
        entries[i].expected = nil
      }
      return .append(log: log, entries.filter { !$0.reads })
    case .enqueue(let queue, var messages):
      for i in messages.indices { messages[i].id = MessageID.next(now, &random) }
      return .enqueue(queue: queue, messages)
    default: return nil
    }
  }

  /// FNV-1a.
  private static func number(_ parts: [UInt8]...) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for part in parts { for byte in part { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 } }
    return hash
  }
}
