// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirFlows

/// Open tunnels by route, counted over all loops: what `websocket.at-once` means on this node.
///
/// Thread-safe. One lock, taken twice in a tunnel's life. Two plans share the counter of a route that stays.
final class OpenTunnels: Sendable {
  private final class Counter: Sendable { let open = Mutex(0) }

  private let counters: [Counter]

  init(routes: Int) { counters = (0..<routes).map { _ in Counter() } }

  init(routes: Int, after old: OpenTunnels, by move: PlanMove) {
    counters = PlanMove.back(move.routes, count: routes).map { $0.map { old.counters[$0] } ?? Counter() }
  }

  func acquire(_ route: Int, most: Int?) -> Bool {
    counters[route].open.withLock { open in
      if open >= most ?? .max { return false }
      open += 1
      return true
    }
  }

  func release(_ route: Int) { counters[route].open.withLock { $0 -= 1 } }
}
