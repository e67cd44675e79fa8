// SPDX-License-Identifier: Apache-2.0

import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// How long the state process takes to open a store with many messages, and to show the few of a rare state.
enum Opening {
  static func run(_ folder: String, messages: Int) throws {
    let path = StateProcess.databasePath(folder)
    var declaration = QueueDeclaration(name: "many")
    declaration.length = 100_000_000
    declaration.bytes = 1 << 40
    if !Files.exists(path) {
      let store = try SQLiteStore(path: path)
      let now = SystemClock.wall().milliseconds
      let queue = try store.transact { try $0.saveQueue(declaration, at: now) }
      var left = messages
      while left > 0 {
        try store.transact { table in
          let count = min(left, 20_000)
          let first = try table.takeSequences(Int64(count))
          for sequence in first..<first + Int64(count) {
            // A thousand of them are due tomorrow, the last ones.
            let due = sequence > messages - 1000 ? now + 86_400_000 : now - Int64(messages) + sequence
            let key = Array("\(sequence % 1000)".utf8)
            let live = LiveMessage(
              sequence: sequence, key: key, tenant: [], priority: 4, bytes: 100, enqueuedAt: now, dueAt: due,
              expiresAt: due + 86_400_000_000)
            try table.insert(
              NewMessage(id: Array("\(sequence)".utf8), key: key, body: Array(repeating: 7, count: 100)), live,
              queue: queue)
          }
          left -= count
        }
      }
      try store.close()
    }
    let victim = Victim(folder, "never")
    let start = SystemClock.now()
    try victim.start()
    defer { victim.kill() }
    let peer = Peer(folder)
    guard case .counts(let counts) = try peer.ask(.look(queue: "many", .counts)) else { throw Peer.Gone() }
    say(
      "opened in \(SystemClock.now().since(start) / 1_000_000) ms: \(counts.waiting) wait, \(counts.delayed) are delayed"
    )
    for state in [MessageState.waiting, .delayed, .inFlight, .dead] {
      let start = SystemClock.now()
      guard
        case .messages(let views) = try peer.ask(.look(queue: "many", .list(state, after: 0, limit: 100)))
      else { throw Peer.Gone() }
      say("\(views.count) that are \(state): \(SystemClock.now().since(start) / 1000) µs")
    }
  }
}
