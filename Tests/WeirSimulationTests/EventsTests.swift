// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirModel
import WeirSimulation

/// Topics, streams, jobs and sagas of a file, on virtual time.
@Suite struct EventsTests {
  static func file(
    _ messaging: String, sends: String, faults: String = "", expect: String = "lost-messages: 0",
    clock: String = "\"00:00\""
  )
    -> String
  {
    """
    weir: 1
    system: shop
    gateway: { listen: 8080, routes: { all: { path: /**, to: api } } }
    services:
      api:
        instances: 2
        sends: [\(sends)]
        operations: { POST /orders: { does: [\(sends)] } }
        work: { mean: 5ms, shape: constant }
      stock:
        instances: 2
        at-once: 4
        operations: { POST /events: { idempotent: false }, POST /back: {}, POST /night: { idempotent: true } }
        work: { mean: 20ms, shape: exponential }
      bank: { instances: 2, at-once: 8, work: { mean: 30ms, shape: exponential } }
    \(messaging)
    traffic:
      ordering: { to: POST /orders, rate: 40/s, clients: 200 }
    scenarios:
      story: { for: 5m, clock: \(clock), faults: [ \(faults) ], expect: { \(expect) } }
    """
  }

  static func forecast(_ text: String, loops: Int = 1) async throws -> Forecast {
    var options = SimulationOptions()
    options.scenarios = ["story"]
    options.replications = 2
    options.loops = loops
    let forecast = try #require(try await Simulation.run(MessagesTests.plan(text), options).first)
    #expect(forecast.violation == nil)
    return forecast
  }

  static let topic =
    "topics: { order-events: { key: order_id, to: { stock: { do: POST stock/events }, bank: { do: POST bank/seen, batch: 20 } } } }"

  @Test("what is sent to a topic comes to each of its groups", arguments: [1, 3])
  func fanOut(_ loops: Int) async throws {
    let forecast = try await Self.forecast(Self.file(Self.topic, sends: "order-events"), loops: loops)
    #expect(forecast.queues.map(\.name) == ["order-events.stock", "order-events.bank"])
    for group in forecast.queues {
      #expect(abs(group.done.value - 40) < 2, "\(group.done)")
      #expect(group.lost.value == 0 && group.outOfOrder.value == 0 && group.doneTwice.value == 0)
    }
    #expect(forecast.outcome == .met)
  }

  /// Twenty in a request, one request at a time.
  ///
  /// One by one it would do 33 a second of the 40 that come; 1200 wait when the bank is back, and are gone in 60 requests of
  /// 30 ms. Then there are 1.65 in each, by the formula of `DeliveriesTests`.
  @Test("several events go in one request when they wait")
  func batches() async throws {
    let forecast = try await Self.forecast(
      Self.file(
        Self.topic.replacing("batch: 20", with: "batch: 20, at-once: 1"), sends: "order-events",
        faults: "{ when: 10s, kill: bank, count: 2, for: 30s }"))
    let edge = try #require(forecast.edges.first { $0.name == "order-events.bank→bank" })
    let bank = forecast.queues[1]
    #expect(bank.peak.value > 1000, "\(bank.peak)")
    let each = bank.done.value / edge.offered.value
    #expect(each > 1.55 && each < 2.1, "\(bank.done.value) events, \(edge.offered.value) requests")
    #expect(bank.undrained == 0 && bank.drain.map { $0.value < 15e9 } == true, "\(bank.drain as Any)")
    #expect(bank.lost.value == 0)
  }

  /// 200 clients at 40 a second: each sends every 5 s, so an event that is 20 s late is overtaken.
  @Test("events that are late are overtaken, and those that come twice are done twice")
  func wrong() async throws {
    let faults =
      "{ when: 30s, delay: order-events, by: 60s, share: 5%, count: 100 }, { when: 30s, double: order-events, by: 5s, share: 5%, count: 50 }"
    let expect = "lost-messages: 0, out-of-order: 0, done-twice: 0"
    let forecast = try await Self.forecast(
      Self.file(Self.topic, sends: "order-events", faults: faults, expect: expect))
    let stock = forecast.queues[0]
    #expect(stock.outOfOrder.value == 100, "\(stock.outOfOrder)")
    #expect(stock.doneTwice.value == 50, "\(stock.doneTwice)")
    #expect(forecast.verdicts.map(\.name) == ["lost messages", "messages out of order", "messages done twice"])
    #expect(forecast.verdicts.map(\.outcome) == [.met, .missed, .missed])
  }

  @Test("with numbers and ids they are not", arguments: [1, 3])
  func sorted(_ loops: Int) async throws {
    let faults =
      "{ when: 30s, delay: order-events, by: 20s, share: 5%, count: 100 }, { when: 30s, double: order-events, by: 5s, share: 5%, count: 50 }"
    let topic =
      "topics: { order-events: { key: order_id, to: { stock: { do: POST stock/events, sequence: number, dedup: 1h } } } }"
    let forecast = try await Self.forecast(
      Self.file(
        topic, sends: "order-events", faults: faults, expect: "lost-messages: 0, out-of-order: 0, done-twice: 0"),
      loops: loops)
    let stock = forecast.queues[0]
    #expect(stock.outOfOrder.value == 0 && stock.doneTwice.value == 0 && stock.dead.isEmpty)
    #expect(try #require(stock.known).value == 50)
    #expect(try #require(stock.kept).value > 100, "\(stock.kept as Any): a late one holds those behind it")
    #expect(try #require(stock.skipped).value == 0)
    #expect(forecast.outcome == .met)
  }

  @Test("what is waited for in vain is skipped, and is a dead letter when it comes after all")
  func late() async throws {
    let topic =
      "topics: { order-events: { key: order_id, to: { stock: { do: POST stock/events, sequence: { by: number, wait: 5s }, dedup: 1h } } } }"
    let forecast = try await Self.forecast(
      Self.file(
        topic, sends: "order-events", faults: "{ when: 30s, delay: order-events, by: 60s, share: 5%, count: 40 }",
        expect: "out-of-order: 0"))
    let stock = forecast.queues[0]
    #expect(stock.outOfOrder.value == 0)
    #expect(try #require(stock.skipped).value == 40)
    #expect(stock.dead.map(\.name) == ["refused"])
    #expect(stock.lost.value == 0)
  }

  @Test("a sorted group whose consumer dies loses nothing and keeps its order")
  func sortedKills() async throws {
    let topic =
      "topics: { order-events: { key: order_id, to: { stock: { do: POST stock/night, sequence: number, dedup: 1h } } } }"
    let forecast = try await Self.forecast(
      Self.file(
        topic, sends: "order-events",
        faults:
          "{ when: 20s, kill: stock, count: 2, for: 40s }, { when: 15s, delay: order-events, by: 10s, share: 20%, for: 30s }",
        expect: "lost-messages: 0, out-of-order: 0, lag: 2m, drain: 4m"))
    let stock = forecast.queues[0]
    #expect(stock.lost.value == 0 && stock.outOfOrder.value == 0 && stock.dead.isEmpty)
    #expect(stock.peak.value > 500)
    #expect(forecast.outcome == .met, "\(forecast.verdicts)")
  }

  @Test("a stream's projections hear it, and lag behind while they are away")
  func streams() async throws {
    let forecast = try await Self.forecast(
      Self.file(
        "streams: { order-log: { key: order_id, projections: { list: { do: POST stock/events } } } }",
        sends: "order-log",
        faults: "{ when: 30s, kill: stock, count: 2, for: 60s }", expect: "lag: 10s"))
    let list = try #require(forecast.queues.first)
    #expect(list.name == "order-log.list")
    #expect(list.peak.value > 2000 && list.lost.value == 0)
    #expect(forecast.verdicts.map(\.name) == ["lag"] && forecast.outcome == .missed)
  }

  @Test("jobs run by the clock of the story")
  func jobs() async throws {
    let text = Self.file(
      "jobs: { night: { every: \"0 3 * * *\", do: POST stock/night }, sweep: { every: 15s, do: POST stock/night } }\nqueues: { emails: { to: POST bank/mail } }",
      sends: "emails", clock: "\"02:58\"")
    let forecast = try await Self.forecast(text)
    let jobs = forecast.queues.filter { $0.name.hasPrefix("jobs.") }
    #expect(jobs.map(\.name) == ["jobs.night", "jobs.sweep"])
    #expect(abs(jobs[0].done.value - 1.0 / 300) < 1e-9, "\(jobs[0].done)")
    #expect(abs(jobs[1].done.value - 20.0 / 300) < 1.5 / 300, "\(jobs[1].done)")
  }

  /// 8:30 in Kolkata, which has no summer time, is 3:00 UTC.
  @Test(
    "a job's times are those of its zone",
    .enabled(if: FileManager.default.fileExists(atPath: "/usr/share/zoneinfo/Asia/Kolkata")))
  func zones() async throws {
    let text = Self.file(
      "jobs: { night: { every: \"30 8 * * *\", zone: Asia/Kolkata, do: POST stock/night } }\n"
        + "queues: { emails: { to: POST bank/mail } }", sends: "emails", clock: "\"02:58\"")
    let night = try #require(try await Self.forecast(text).queues.first { $0.name == "jobs.night" })
    #expect(abs(night.done.value - 1.0 / 300) < 1e-9, "\(night.done)")
  }

  static let saga =
    "sagas: { place-order: { steps: [ { do: POST bank/pay, undo: POST bank/void }, { do: POST stock/events, undo: POST stock/back }, POST bank/confirm ] } }"

  @Test("sagas are finished, and take as long as their steps")
  func sagas() async throws {
    let forecast = try await Self.forecast(
      Self.file(Self.saga, sends: "place-order", expect: "half-done: 0"))
    let saga = try #require(forecast.sagas.first)
    #expect(abs(saga.finished.value - 40) < 2, "\(saga.finished)")
    // 30 ms, 20 ms and 30 ms.
    #expect(abs(saga.time.mean.value - 80e6) < 8e6, "\(saga.time.mean)")
    #expect(saga.compensated == 0 && saga.stuck.value == 0)
    #expect(abs(saga.calls.value - 3) < 0.01)
    #expect(forecast.verdicts.map(\.name) == ["sagas half done"] && forecast.outcome == .met)
  }

  @Test("a step that is refused has those before it undone; one without undo stays half done")
  func undone() async throws {
    let faults = "{ when: 30s, fail: stock, status: 422, share: 50%, for: 60s }"
    let forecast = try await Self.forecast(
      Self.file(Self.saga, sends: "place-order", faults: faults, expect: "half-done: 0"))
    let saga = try #require(forecast.sagas.first)
    // Half of a fifth; an undo at the same service fails as often, and is tried again.
    #expect(abs(saga.compensated - 0.1) < 0.02, "\(saga.compensated)")
    #expect(forecast.outcome == .met, "\(forecast.verdicts) \(saga)")
    let bare = Self.saga.replacing(", undo: POST bank/void", with: "")
    let half = try await Self.forecast(
      Self.file(bare, sends: "place-order", faults: faults, expect: "half-done: 0"))
    #expect(half.outcome == .missed)
    #expect(try #require(half.sagas.first).leftDone.value > 500)
  }

  @Test("sagas go on when those who work for them die")
  func killed() async throws {
    let forecast = try await Self.forecast(
      Self.file(
        Self.saga, sends: "place-order", faults: "{ when: 30s, kill: bank, count: 2, for: 5s }",
        expect: "half-done: 0"))
    let saga = try #require(forecast.sagas.first)
    #expect(saga.stuck.value == 0 && saga.time.p99.value > 1e9, "\(saga)")
    #expect(forecast.outcome == .met)
  }
}
