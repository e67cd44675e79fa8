// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// What happens at a moment of virtual time: trivial, 24 bytes.
package struct AgendaEvent: Sendable, Equatable, BitwiseCopyable {
  /// When, in virtual nanoseconds.
  package var at: Int64
  /// The number in the order of scheduling, then the kind in the lowest 8 bits.
  package var order: UInt64
  /// What the kind needs: an index, a slot.
  package var payload: UInt64

  package var kind: UInt8 { UInt8(truncatingIfNeeded: order) }

  @inline(__always)
  static func isBefore(_ a: AgendaEvent, _ b: AgendaEvent) -> Bool {
    a.at < b.at || (a.at == b.at && a.order < b.order)
  }
}

/// Events by time; those of one moment in the order they were put in.
///
/// A 4-ary heap in one flat array (LaMarca and Ladner, *The Influence of Caches on the Performance of Heaps*, 1996): half
/// as deep as a binary one, and the four children of a node are a cache line and a half. The order of scheduling breaks
/// ties, so that a run never depends on how a heap happens to be shaped.
///
/// ## Invariants
/// 1. What comes out is never earlier than what came out before, if nothing was put in for the past.
/// 2. Of equal moments the one put in first comes out first.
package struct Agenda: ~Copyable {
  private var heap: Bank<AgendaEvent>
  private var scheduled: UInt64 = 0
  /// What is later is not kept: nobody will ever come to it.
  private let horizon: Int64

  package init(reserving capacity: Int = 256, until horizon: Int64 = .max) {
    heap = Bank(reserving: capacity)
    self.horizon = horizon
  }

  package var count: Int { heap.count }

  /// When the first event is; `Int64.max` without one.
  @inline(__always)
  package var firstAt: Int64 { heap.isEmpty ? .max : heap[0].at }

  /// The first event, which stays.
  package var first: AgendaEvent? { heap.isEmpty ? nil : heap[0] }

  @inline(__always)
  package mutating func schedule(_ kind: UInt8, at: Int64, payload: UInt64) {
    scheduled &+= 1
    if at > horizon { return }
    push(AgendaEvent(at: at, order: scheduled << 8 | UInt64(kind), payload: payload))
  }

  @inline(__always)
  private mutating func push(_ event: AgendaEvent) {
    var hole = heap.count
    heap.append(event)
    while hole > 0 {
      let parent = (hole &- 1) >> 2
      if !AgendaEvent.isBefore(event, heap[parent]) { break }
      heap[hole] = heap[parent]
      hole = parent
    }
    heap[hole] = event
  }

  /// Takes the first event if it is not after `limit`.
  @inline(__always)
  package mutating func next(upTo limit: Int64) -> AgendaEvent? {
    if heap.isEmpty || heap[0].at > limit { return nil }
    let first = heap[0]
    let last = heap.removeLast()
    let count = heap.count
    if count == 0 { return first }
    var hole = 0
    while true {
      let child = hole &* 4 &+ 1
      if child >= count { break }
      var least = child
      let end = min(child &+ 4, count)
      var other = child &+ 1
      while other < end {
        if AgendaEvent.isBefore(heap[other], heap[least]) { least = other }
        other &+= 1
      }
      if !AgendaEvent.isBefore(heap[least], last) { break }
      heap[hole] = heap[least]
      hole = least
    }
    heap[hole] = last
    return first
  }

  /// What is wrong with this state, or nil.
  package func violation() -> String? {
    for i in heap.indices.dropFirst() where AgendaEvent.isBefore(heap[i], heap[(i - 1) / 4]) {
      return "event \(i) is before its parent"
    }
    return nil
  }
}
