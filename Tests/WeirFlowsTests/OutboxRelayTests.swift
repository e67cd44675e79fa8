// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

@Suite struct OutboxRelayTests {
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func rows(_ ids: [Int64], _ target: String = "queues/a", bytes: Int = 10) -> [OutboxRelay.Row] {
    ids.map { OutboxRelay.Row(id: $0, target: target, bytes: bytes) }
  }

  @Test("read, send by target in the order of ids, delete, and read again")
  func path() {
    var relay = OutboxRelay()
    #expect(relay.next(now: at(0)) == .read(limit: 200, without: [], notRows: []))
    relay.read(rows([1, 3]) + rows([4], "queues/b") + rows([5]), now: at(0))
    #expect(relay.next(now: at(1)) == .send(target: "queues/a", ids: [1, 3, 5]))
    #expect(relay.next(now: at(1)) == .send(target: "queues/a", ids: [1, 3, 5]))
    relay.sent(.taken, now: at(2))
    #expect(relay.next(now: at(2)) == .delete([1, 3, 5]))
    relay.deleted()
    #expect(relay.next(now: at(2)) == .send(target: "queues/b", ids: [4]))
    relay.sent(.taken, now: at(3))
    relay.deleted()
    #expect(relay.next(now: at(3)) == .read(limit: 200, without: [], notRows: []))
    relay.read([], now: at(4))
    #expect(relay.next(now: at(53)) == .rest(until: at(54)))
    relay.woken(now: at(53))
    #expect(relay.next(now: at(53)) == .read(limit: 200, without: [], notRows: []))
  }

  @Test("a target that refuses rests, longer each time, and holds up no other")
  func refused() {
    var relay = OutboxRelay()
    relay.read(rows([1], "queues/full") + rows([2], "queues/b") + rows([3], "queues/full"), now: at(0))
    relay.sent(.refused(after: nil), now: at(0))
    #expect(relay.next(now: at(0)) == .send(target: "queues/b", ids: [2]))
    relay.sent(.taken, now: at(0))
    relay.deleted()
    #expect(relay.next(now: at(99)) == .read(limit: 200, without: ["queues/full"], notRows: []))
    relay.read([], now: at(99))
    #expect(relay.next(now: at(149)) == .read(limit: 200, without: [], notRows: []))
    relay.read(rows([1, 3], "queues/full"), now: at(149))
    relay.sent(.refused(after: nil), now: at(150))
    #expect(relay.next(now: at(349)) == .read(limit: 200, without: ["queues/full"], notRows: []))
    #expect(relay.next(now: at(350)) == .read(limit: 200, without: [], notRows: []))
    relay.read(rows([1, 3], "queues/full"), now: at(350))
    relay.sent(.refused(after: .seconds(60)), now: at(350))
    // No longer than `restMax`, whatever it says.
    #expect(relay.next(now: at(5349)) == .read(limit: 200, without: ["queues/full"], notRows: []))
    #expect(relay.next(now: at(5350)) == .read(limit: 200, without: [], notRows: []))
    relay.read(rows([1, 3], "queues/full"), now: at(5350))
    relay.sent(.taken, now: at(5350))
    #expect(relay.next(now: at(5350)) == .delete([1, 3]))
    #expect(!relay.isResting)
  }

  @Test("rows that nobody could take are left out, and looked at again later")
  func wrong() {
    var relay = OutboxRelay()
    relay.read([OutboxRelay.Row(id: 1, target: "nowhere", bytes: 1, isWrong: true)] + rows([2, 3]), now: at(0))
    #expect(relay.next(now: at(0)) == .send(target: "queues/a", ids: [2, 3]))
    relay.sent(.wrong([3]), now: at(0))
    #expect(relay.next(now: at(0)) == .read(limit: 200, without: [], notRows: [1, 3]))
    relay.read([], now: at(0))
    #expect(relay.next(now: at(29_999)) == .read(limit: 200, without: [], notRows: [1, 3]))
    #expect(relay.next(now: at(30_000)) == .read(limit: 200, without: [], notRows: []))
  }

  @Test("what is large goes in several sends, in order; a refusal of the first keeps the others back")
  func large() {
    var relay = OutboxRelay()
    relay.read(rows([1, 2, 3], bytes: 2 << 20), now: at(0))
    #expect(relay.next(now: at(0)) == .send(target: "queues/a", ids: [1, 2]))
    relay.sent(.refused(after: nil), now: at(0))
    #expect(relay.next(now: at(0)) == .read(limit: 200, without: ["queues/a"], notRows: []))
  }

  @Test("after a failure of the database all is read again, later each time")
  func failures() {
    var relay = OutboxRelay()
    relay.read(rows([1, 2]), now: at(0))
    relay.sent(.taken, now: at(0))
    relay.failed(now: at(0))
    #expect(relay.next(now: at(99)) == .rest(until: at(100)))
    relay.woken(now: at(99))
    #expect(relay.next(now: at(99)) == .rest(until: at(100)))
    relay.failed(now: at(100))
    #expect(relay.next(now: at(100)) == .rest(until: at(300)))
    #expect(relay.next(now: at(300)) == .read(limit: 200, without: [], notRows: []))
  }

  /// A table, targets that know ids, and a relay that is forgotten at any step: nothing is lost, nothing counts twice, and each
  /// target's order is that of the ids.
  @Test("walk: whatever fails or dies, each row has its effect once", arguments: UInt64(0)..<200)
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var settings = OutboxRelay.Settings()
    settings.rowsMax = 1 + random.index(below: 5)
    settings.targetsMax = 1 + random.index(below: 3)
    var relay = OutboxRelay(settings)
    var table: [(id: Int64, target: String)] = []
    var effects: [String: [Int64]] = [:]
    var written: Int64 = 0
    var now = at(0)
    let targets = ["queues/a", "queues/b", "topics/c"]
    for step in 0..<3000 {
      let isCalm = step > 2000
      if !isCalm, random.index(below: 4) == 0 {
        written += 1
        table.append((written, targets[random.index(below: 3)]))
      }
      if !isCalm, random.index(below: 25) == 0 { relay = OutboxRelay(settings) }
      let fails = !isCalm && random.index(below: 5) == 0
      switch relay.next(now: now) {
      case .read(let limit, let without, let notRows):
        if fails {
          relay.failed(now: now)
          break
        }
        let found = table.filter { !without.contains($0.target) && !notRows.contains($0.id) }.prefix(limit)
        relay.read(found.map { OutboxRelay.Row(id: $0.id, target: $0.target, bytes: 1 << 19) }, now: now)
      case .send(let target, let ids):
        // It may have been taken, and the answer lost.
        if !fails || random.index(below: 2) == 0 {
          for id in ids where effects[target]?.contains(id) != true { effects[target, default: []].append(id) }
        }
        relay.sent(fails ? .refused(after: nil) : .taken, now: now)
      case .delete(let ids):
        if fails {
          relay.failed(now: now)
          break
        }
        table.removeAll { ids.contains($0.id) }
        relay.deleted()
      case .rest(let until):
        guard until > now else {
          Issue.record("WEIR_SEED=\(seed), step \(step): a rest that is over")
          return
        }
        now = until
      }
      now = now.advanced(by: random.nanoseconds(upTo: 3_000_000))
      if let violation = relay.violation() {
        Issue.record("WEIR_SEED=\(seed), step \(step): \(violation)")
        return
      }
    }
    let all = effects.values.flatMap { $0 }.sorted()
    #expect(all == Array(1...max(1, written)), "WEIR_SEED=\(seed): \(written) rows, \(all.count) effects")
    #expect(effects.values.allSatisfy { $0 == $0.sorted() }, "WEIR_SEED=\(seed): \(effects)")
    #expect(table.isEmpty, "WEIR_SEED=\(seed)")
  }
}
