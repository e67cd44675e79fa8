// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirModel
import WeirSimulation

/// From a file to a forecast.
@Suite("simulation of a file")
struct PlanTests {
  static let file = """
    weir: 1
    system: over
    requirements: { availability: 99.9%, load: 900/s }
    gateway:
      listen: 8080
      routes: { api: { path: /**, to: api } }
    services:
      api:
        instances: 2
        at-once: 2
        work: { median: 4ms, p99: 25ms }
        calls: { db: { timeout: 300ms }, extra: { timeout: 50ms, optional: true } }
        operations:
          GET /both: { does: [[db, extra]] }
      extra: { work: { mean: 200ms } }
    stores:
      db: { engine: postgres, at: ["db:5432"], max-connections: 100, work: { median: 1ms, p99: 6ms } }
    traffic:
      reading: { to: GET /both, rate: 100/s, clients: 50 }
      direct:  { to: db, rate: 20/s }
    scenarios:
      little:
        for: 20s
        traffic: { reading: x0.1 }
        faults: [ { when: 5s, kill: api, count: 1 } ]
        expect: { availability: 99% }
    """

  static func plan() throws -> Plan {
    let result = ModelReader.read(path: "over.yaml", files: ModelReader.Files(["over.yaml": file]))
    return Plan(try #require(result.design, "\(result.diagnostics)"))
  }

  /// The quiet case at `requirements.load` is over capacity and is told so; a tenth of it is not.
  @Test("stories of a file")
  func stories() async throws {
    var options = SimulationOptions()
    options.duration = .seconds(10)
    let forecasts = try await Simulation.run(try Self.plan(), options)
    #expect(forecasts.map(\.scenario) == [nil, "little"])
    let quiet = forecasts[0]
    #expect(quiet.violation == nil && forecasts[1].violation == nil)
    #expect(abs(quiet.total.offered.value / 900 - 1) < 0.05)
    #expect(quiet.outcome == .missed)
    #expect(quiet.bottleneck?.service == "api")
    let refused = quiet.routes[0].reasons.first { $0.name == "queue-full" }
    #expect((refused?.share ?? 0) > 0.2)
    // What calls the store directly is a route of its own.
    #expect(quiet.routes.contains { $0.name == "direct" && $0.availability.value == 1 })
    // 200 ms of work in 50 ms: nearly every optional call ends with its fallback, and no request fails for it.
    let extra = quiet.edges.first { $0.name == "api→extra" }
    #expect((extra?.fallbacks ?? 0) > 0.7)
    #expect(forecasts[1].outcome != .missed)
    #expect(forecasts[1].events.contains { $0.subject == "api" && $0.instance == 0 })
  }

  @Test("an unknown scenario is said with what there is")
  func unknown() async throws {
    var options = SimulationOptions()
    options.scenarios = ["nothing"]
    let plan = try Self.plan()
    await #expect(throws: Simulation.UnknownScenario(name: "nothing", known: ["little"])) {
      _ = try await Simulation.run(plan, options)
    }
  }
}
