// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirSimulation

/// Queues of a file, on virtual time: what is sent is worked on, whatever happens to those who work on it.
@Suite struct MessagesTests {
  static func file(
    queue: String = "", faults: String = "", expect: String = "lost-messages: 0", more: String = "", rate: Int = 40
  ) -> String {
    """
    weir: 1
    system: shop
    gateway: { listen: 8080, routes: { all: { path: /**, to: api } } }
    services:
      api:
        instances: 2
        sends: [emails]
        operations: { POST /orders: { does: [emails] }, GET /orders: { does: [] } }
        work: { mean: 5ms, shape: constant }
      mailer: { instances: 2, at-once: 4, work: { mean: 100ms, shape: exponential } }
    queues:
      emails: { to: POST mailer/send\(queue) }
    traffic:
      ordering: { to: POST /orders, rate: \(rate)/s, clients: 20 }
      looking: { to: GET /orders, rate: 20/s, clients: 20 }
    scenarios:
      story: { for: 5m, faults: [ \(faults) ], expect: { \(expect) } }
    \(more)
    """
  }

  static func plan(_ text: String) throws -> Plan {
    let result = ModelReader.read(path: "queue.yaml", files: ModelReader.Files(["queue.yaml": text]))
    let design = try #require(result.design, "\(result.diagnostics)")
    #expect(design.unsupported(for: .simulate).isEmpty)
    return Plan(design)
  }

  static func forecast(_ text: String, loops: Int = 1, seed: UInt64 = 1) async throws -> Forecast {
    var options = SimulationOptions()
    options.scenarios = ["story"]
    options.replications = 4
    options.loops = loops
    options.seed = seed
    let forecast = try #require(try await Simulation.run(plan(text), options).first)
    #expect(forecast.violation == nil)
    return forecast
  }

  @Test("what is sent is worked on; who only looks sends nothing", arguments: [1, 3])
  func quiet(_ loops: Int) async throws {
    let forecast = try await Self.forecast(Self.file(), loops: loops)
    let emails = try #require(forecast.queues.first)
    #expect(emails.name == "emails")
    #expect(abs(emails.sent.value - 40) < 2, "\(emails.sent)")
    #expect(abs(emails.done.value - emails.sent.value) < 0.1)
    // 40 a second for 100 ms each, on eight places.
    #expect(abs(emails.inFlight.value - 4) < 0.4, "\(emails.inFlight)")
    #expect(abs(emails.attempts.value - 1) < 0.001)
    #expect(emails.dead.isEmpty)
    #expect(forecast.outcome == .met)
    #expect(forecast.verdicts.map(\.name) == ["lost messages"])
    #expect(forecast.edges.contains { $0.name == "emails→mailer" })
  }

  /// 40 a second on one half of 80 a second: nothing is left of the outage but time.
  @Test("workers that die lose no message: each is delivered again, and none of its key before it")
  func kills() async throws {
    let forecast = try await Self.forecast(
      Self.file(
        queue: ", key: customer_id",
        faults: "{ when: 10s, kill: mailer, count: 2, for: 20s }, { when: 60s, kill: mailer, count: 1, for: 30s }"))
    let emails = try #require(forecast.queues.first)
    #expect(emails.lost.value == 0)
    #expect(emails.dead.isEmpty)
    #expect(emails.attempts.value > 1.0001, "\(emails.attempts): those that were in work are delivered again")
    #expect(emails.peak.value > 700, "\(emails.peak): 20 s at 40 a second")
    #expect(emails.undrained == 0)
    #expect(try #require(emails.drain).value > 5e9)
    #expect(forecast.outcome == .met)
  }

  @Test("what fails for good is a dead letter; without dead letters it is lost, and the verdict says so")
  func poison() async throws {
    let faults = "{ when: 10s, fail: emails, share: 10%, status: 422, for: 1m }"
    let kept = try await Self.forecast(Self.file(faults: faults))
    let refused = try #require(kept.queues.first?.dead.first)
    #expect(refused.name == "refused")
    #expect(abs(refused.share - 0.02) < 0.004, "\(refused.share): a tenth of a fifth of the time")
    #expect(kept.outcome == .met)
    let dropped = try await Self.forecast(Self.file(queue: ", dead-letters: false", faults: faults))
    #expect(dropped.outcome == .missed)
    #expect(try #require(dropped.queues.first).lost.value > 200)
    let tired = try await Self.forecast(
      Self.file(
        queue: ", retry: { attempts: 3, backoff: 100ms }",
        faults: "{ when: 10s, fail: emails, share: 10%, for: 1m }"))
    #expect(tired.queues.first?.dead.map(\.name) == ["attempts"])
    #expect(abs(try #require(tired.queues.first).attempts.value - 1.04) < 0.01, "a fiftieth is tried three times")
  }

  @Test("a full queue is its sender's failure")
  func full() async throws {
    let forecast = try await Self.forecast(
      Self.file(
        queue: ", length: 50", faults: "{ when: 10s, kill: mailer, count: 2, for: 1m }",
        expect: "availability: 99.9%, lost-messages: 0"))
    let emails = try #require(forecast.queues.first)
    #expect(emails.peak.value <= 50)
    #expect(emails.refused > 0.03, "\(emails.refused)")
    #expect(emails.lost.value == 0)
    #expect(forecast.verdicts.first { $0.name == "availability" }?.outcome == .missed)
  }

  @Test("a rate is kept, however much waits")
  func rate() async throws {
    let forecast = try await Self.forecast(Self.file(queue: ", rate: 20/s"))
    let emails = try #require(forecast.queues.first)
    #expect(abs(emails.done.value - 20) < 0.2, "\(emails.done)")
    #expect(emails.undrained == 1)
  }

  @Test("the same seed gives the same forecast on any number of threads, another seed others")
  func deterministic() async throws {
    let plan = try Self.plan(
      Self.file(queue: ", key: customer_id", faults: "{ when: 5s, kill: mailer, count: 2, for: 10s }"))
    func play(threads: Int, seed: UInt64) async throws -> [Forecast] {
      var options = SimulationOptions()
      options.scenarios = ["story"]
      options.replications = 3
      options.threads = threads
      options.seed = seed
      return try await Simulation.run(plan, options)
    }
    let first = try await play(threads: 1, seed: 7)
    #expect(try await play(threads: 3, seed: 7) == first)
    #expect(try await play(threads: 3, seed: 8) != first)
  }

  @Test("a queue that programs fetch from is refused, with its line")
  func fetched() throws {
    let text = Self.file().replacing("{ to: POST mailer/send }", with: "{ at-once: 3 }")
    let result = ModelReader.read(path: "queue.yaml", files: ModelReader.Files(["queue.yaml": text]))
    let design = try #require(result.design, "\(result.diagnostics)")
    #expect(design.unsupported(for: .simulate).map(\.message).first?.contains("programs fetch from 'emails'") == true)
    #expect(design.unsupported(for: .run).allSatisfy { !$0.message.contains("emails") })
  }
}
