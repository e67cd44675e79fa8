// SPDX-License-Identifier: Apache-2.0

/// Watches one queue in two independent ways, so that Little's law can be held against it: by the clock and by the customer.
///
/// `area` adds up how many waited, for how long, each time that number changes; `waits` adds up how long each one waited
/// when it leaves. Over those who have left the two are the same number: L·T = Σ waits. Both are whole nanoseconds, so the
/// audit is exact; a double booking, a lost customer or a clock that goes back shows at once.
package struct QueueGauge: Sendable, Equatable, BitwiseCopyable {
  package private(set) var count: Int64 = 0
  package private(set) var entered: Int64 = 0
  package private(set) var left: Int64 = 0
  /// Σ of the times of those who have left.
  package private(set) var waits: Int64 = 0
  /// ∫ count dt.
  private var area: Int64 = 0
  private var changedAt: Int64 = 0

  package init() {}

  package mutating func enter(at now: Int64) {
    area &+= count &* (now &- changedAt)
    changedAt = now
    count &+= 1
    entered &+= 1
  }

  package mutating func leave(enteredAt: Int64, now: Int64) {
    area &+= count &* (now &- changedAt)
    changedAt = now
    count &-= 1
    left &+= 1
    waits &+= now &- enteredAt
  }

  /// ∫ count dt until `now`.
  package func area(at now: Int64) -> Int64 { area &+ count &* (now &- changedAt) }

  /// |L − λW| ÷ L over those who have left, 0 of nobody.
  ///
  /// `entries` are the entry times of those still inside, added up by who keeps them: they have spent `now − entry` each in
  /// the area.
  package func imbalance(at now: Int64, entries: Int64) -> Double {
    let completed = area(at: now) &- (count &* now &- entries)
    if completed == waits { return 0 }
    return completed <= 0 ? .infinity : abs(Double(completed &- waits)) / Double(completed)
  }

  /// What is wrong, or nil; `inside` are those who are in the queue, found by looking at each of them.
  package func violation(at now: Int64, inside: Int64, entries: Int64) -> String? {
    if count < 0 || entered - left != count || inside != count {
      return "\(entered) entered, \(left) left, \(count) are counted and \(inside) inside"
    }
    let imbalance = imbalance(at: now, entries: entries)
    return imbalance < 1e-9 ? nil : "Little's law is missed by \(imbalance)"
  }
}
