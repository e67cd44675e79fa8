// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Open tunnels by route, counted over all loops: what `websocket.at-once` means on this node.
///
/// Thread-safe. One lock, taken twice in a tunnel's life.
final class OpenTunnels: Sendable {
  private let open: Mutex<[Int]>

  init(routes: Int) { open = Mutex(Array(repeating: 0, count: routes)) }

  func acquire(_ route: Int, most: Int?) -> Bool {
    open.withLock { open in
      if open[route] >= most ?? .max { return false }
      open[route] += 1
      return true
    }
  }

  func release(_ route: Int) { open.withLock { $0[route] -= 1 } }
}
