// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirProxy
import WeirWire

/// What the newest plan has of one kind, and how all of it stood when it was counted last.
///
/// Each thing is asked of the state process, so counting is done beside whatever else is, one count at a time.
final class Census<Thing: Sendable, Row: Sendable>: Sendable {
  private struct Shared {
    var server: ProxyServer?
    var things: [Thing] = []
    var last: [Row]?
    var isCounting = false
  }

  private let shared = Mutex(Shared())

  /// A plan is in force.
  func enter(_ things: [Thing], _ server: ProxyServer) {
    shared.withLock {
      $0.server = server
      $0.things = things
      if things.isEmpty { $0.last = nil }
    }
  }

  /// In the order of the file.
  var things: [Thing] { shared.withLock { $0.things } }
  var server: ProxyServer? { shared.withLock { $0.server } }

  /// As they were counted last; nil where there is none, or while nobody can say.
  var last: [Row]? { shared.withLock { $0.last } }

  /// Has them counted anew by `all`, which says nil while nobody can say.
  func count(_ all: @escaping @Sendable () async -> [Row]?) {
    let begins = shared.withLock { shared in
      if shared.isCounting || shared.things.isEmpty { return false }
      shared.isCounting = true
      return true
    }
    guard begins else { return }
    Task {
      let rows = await all()
      shared.withLock {
        $0.isCounting = false
        // The plan may have lost them while they were counted.
        $0.last = $0.things.isEmpty ? nil : rows
      }
    }
  }

  /// Nil when there is no answer in time: nanoseconds.
  func ask(_ request: StateRequest, within time: Int64 = QueueOffice.patience) async -> StateReply? {
    await server?.ask(request, within: time)
  }
}
