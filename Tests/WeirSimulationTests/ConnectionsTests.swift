// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirModel
import WeirSimulation

/// Connections through a listener of TCP, on virtual time: places are held to the end, what is waited for is the opening.
@Suite struct ConnectionsTests {
  static func file(faults: String = "") -> String {
    """
    weir: 1
    system: shop
    gateway:
      listen:
        - { port: 5433, protocol: tcp, to: db }
        - { port: 8443, protocol: tcp, sni: { shop.example: web } }
    services:
      db: { at: ["10.0.0.7:5432", "10.0.0.8:5432"], at-once: 200, health: tcp, work: { mean: 10s, shape: exponential } }
      web: { at: ["10.0.0.5:443"], work: { mean: 1s, shape: constant } }
    traffic:
      sessions: { to: TCP db, rate: 4/s }
      names: { to: TCP web, rate: 5/s }
    scenarios:
      dies: { for: 60s, faults: [ \(faults) ] }
    """
  }

  static func plan(_ text: String) throws -> Plan {
    let result = ModelReader.read(path: "tcp.yaml", files: ModelReader.Files(["tcp.yaml": text]))
    return Plan(try #require(result.design, "\(result.diagnostics)"))
  }

  /// L = λW holds for open connections as for anything else.
  @Test("a connection is open when it is taken, and is work for as long as it lasts")
  func open() async throws {
    var options = SimulationOptions()
    options.duration = .seconds(300)
    options.scenarios = nil
    let forecast = try #require(
      try await Simulation.run(Self.plan(Self.file(faults: "{ when: 1s, kill: db, count: 1, for: 2s }")), options).first
    )
    #expect(forecast.violation == nil)
    let sessions = try #require(forecast.routes.first { $0.name == "sessions" })
    #expect(sessions.availability.value == 1)
    // There and back: 2 × 50 µs, as the tally's buckets of a sixteenth show it.
    #expect(abs(sessions.latency.p50.value - 100_000) < 7_000, "\(sessions.latency.p50)")
    let db = try #require(forecast.services.first { $0.name == "db" })
    #expect(abs(db.busy.value - 40) < 4, "\(db.busy): 4 a second that last 10 s each")
    let web = try #require(forecast.services.first { $0.name == "web" })
    #expect(abs(web.busy.value - 5) < 0.5, "\(web.busy)")
  }

  @Test("what dies takes its connections with it; new ones are opened elsewhere")
  func kill() async throws {
    var options = SimulationOptions()
    options.scenarios = ["dies"]
    let plan = try Self.plan(Self.file(faults: "{ when: 20s, kill: db, count: 1, for: 30s }"))
    let forecast = try #require(try await Simulation.run(plan, options).first)
    #expect(forecast.violation == nil)
    let sessions = try #require(forecast.routes.first { $0.name == "sessions" })
    #expect(sessions.availability.value > 0.999, "\(sessions.availability)")
    let busy = try #require(forecast.services.first { $0.name == "db" }?.busy.value)
    #expect(busy < 39, "\(busy): a share of those that were open were cut")
  }

  /// GT-EB's row for 5 % and 10 servers: 6.21571 erlangs, whatever the distribution of the lengths.
  @Test("without a queue a pool of places refuses Erlang's share", arguments: [true, false])
  func blocking(_ isConstant: Bool) {
    var scene = Scenes.single(
      load: 0.621571, places: 10, work: isConstant ? .constant(Scenes.unit) : .exponential(mean: Scenes.unit),
      call: Scenes.patientCall(queue: 0))
    scene.traffic[0].connects = true
    let seen = Truth.observe(scene, customers: 200_000)
    let result = Truth.compare(
      "GT-EB", "connections, 10 places, 5 %, \(isConstant ? "constant" : "exponential")", 0.05,
      seen.map { $0.routes[0].failed }, seen.map { $0.routes[0].count })
    #expect(abs(result.z) < 4, "\(result)")
    Truth.keep([result])
  }

  @Test("a connection must have a listener that leads where it goes")
  func unknown() {
    let text = Self.file().replacing("TCP web", with: "TCP nothing").replacing("to: TCP db", with: "to: TCP web")
    let result = ModelReader.read(path: "tcp.yaml", files: ModelReader.Files(["tcp.yaml": text]))
    #expect(result.design == nil)
    let bare = Self.file().replacing("sni: { shop.example: web }", with: "to: db")
    let told = ModelReader.read(path: "tcp.yaml", files: ModelReader.Files(["tcp.yaml": bare])).diagnostics
    #expect(told.contains { $0.message == "no TCP listener leads to 'web'" }, "\(told)")
  }
}
