// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirFlows
package import WeirPatterns

/// The memory bound of the process and what came of it.
package struct MemoryWatch: Sendable {
  /// Nil without a bound.
  package private(set) var bound: MemoryBound?
  /// How often bodies and connections had to wait, and requests were refused.
  package private(set) var pauses: UInt64 = 0
  package private(set) var refusals: UInt64 = 0
  private var held: @Sendable () -> Int?

  init(_ configuration: ProxyConfiguration) {
    bound = configuration.memory.map { MemoryBound($0) }
    held = configuration.heldMemory
  }

  /// A changed plan: its bound, at the level that held before, until the next look.
  mutating func move(to configuration: ProxyConfiguration) {
    held = configuration.heldMemory
    if bound?.settings == configuration.memory { return }
    bound = configuration.memory.map { MemoryBound($0) }
  }

  /// Asks how much is held; the level it makes, where a bound is and the system tells.
  mutating func look() -> MemoryBound.Level {
    guard bound != nil, let held = held() else { return .open }
    switch bound?.look(held: held) {
    case .entered(.pausing): pauses += 1
    case .entered(.refusing): refusals += 1
    case .entered(.open), nil, .some(.none): break
    }
    return bound?.level ?? .open
  }
}

extension ProxyServer {
  /// The bound of the process's memory, as of the last look.
  package var memory: MemoryWatch { node.memory.withLock { $0 } }
}

extension ProxyLoop {
  /// First what may wait is made to wait, then requests are refused.
  ///
  /// Calls between services are left alone: what is under way gives memory back only when they are answered.
  func enter(_ level: MemoryBound.Level) {
    if level == memoryLevel { return }
    memoryLevel = level
    epoch.flows.holdBack(level == .refusing, now: now())
    for client in clients {
      guard let client, client.stage == .body, !client.isCalls else { continue }
      client.setReading(true)
    }
  }
}
