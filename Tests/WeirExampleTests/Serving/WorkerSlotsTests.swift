// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing
import WeirExample

/// A value behind a lock that tasks can share.
private final class Shared<Value: Sendable>: Sendable {
  private let value: Mutex<Value>

  init(_ value: Value) { self.value = Mutex(value) }

  func change(_ body: (inout Value) -> Void) { value.withLock { body(&$0) } }

  var current: Value { value.withLock { $0 } }
}

@Suite(.timeLimit(.minutes(1)))
struct WorkerSlotsTests {
  @Test("slots go to the longest waiting, in order; more than may wait are refused")
  func order() async {
    let slots = WorkerSlots(count: 1, waitingMax: 200)
    #expect(await slots.acquire())
    let order = Shared<[Int]>([])
    await withTaskGroup(of: Void.self) { group in
      // Over 64, so that the served part of the queue is cut at least once.
      for number in 0..<200 {
        group.addTask {
          #expect(await slots.acquire())
          order.change { $0.append(number) }
          slots.release()
        }
        while slots.use.waiting != number + 1 { await Task.yield() }
      }
      #expect(await slots.acquire() == false)
      slots.release()
    }
    #expect(order.current == Array(0..<200))
    #expect(slots.use == (0, 0))
  }

  private struct Count {
    var now = 0
    var most = 0
  }

  @Test("never more than count are out, and none is lost")
  func bound() async {
    let slots = WorkerSlots(count: 3, waitingMax: 10_000)
    let inside = Shared(Count())
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<2000 {
        group.addTask {
          #expect(await slots.acquire())
          inside.change {
            $0.now += 1
            $0.most = max($0.most, $0.now)
          }
          await Task.yield()
          inside.change { $0.now -= 1 }
          slots.release()
        }
      }
    }
    #expect(inside.current.most <= 3)
    #expect(slots.use == (0, 0))
  }
}
