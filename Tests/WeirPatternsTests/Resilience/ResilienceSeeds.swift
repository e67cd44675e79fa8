// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase

/// The seeds of a walk: `count` of them, or the one that `WEIR_SEED` names, to play a failure again.
func resilienceSeeds(_ count: UInt64) -> [UInt64] {
  if let text = ProcessInfo.processInfo.environment["WEIR_SEED"], let seed = UInt64(text) { return [seed] }
  return Array(0..<count)
}

extension Instant {
  /// A point so many milliseconds after the clock's beginning.
  static func ms(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }
  /// A point so many seconds after the clock's beginning.
  static func s(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }
}
