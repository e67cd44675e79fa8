// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirModel
import WeirSimulation

/// Routes that the gateway answers by itself, and answers made of several calls, on virtual time.
@Suite struct EdgeRoutesTests {
  static let file = """
    weir: 1
    system: shop
    gateway:
      listen: 8080
      routes:
        closed: { path: /closed, answer: 503 }
        robots: { path: /robots.txt, answer: { body: "User-agent: *" }, limit: { rate: 10/s, burst: 10, by: route } }
        home: { path: /home, compose: { fast: GET fast/x, slow: GET slow/y } }
        spare: { path: /spare, compose: { fast: GET fast/x, broken: { do: GET broken/z, optional: true } } }
        needs: { path: /needs, compose: { fast: GET fast/x, broken: GET broken/z } }
    services:
      fast: { instances: 4, work: { mean: 10ms, shape: constant } }
      slow: { instances: 8, work: { mean: 50ms, shape: constant } }
      broken: { at: ["broken:80"], availability: 50%, work: { mean: 1ms, shape: constant } }
    defaults: { call: { retry: 1, breaker: none } }
    traffic:
      a: { to: GET /closed, rate: 20/s }
      b: { to: GET /robots.txt, rate: 20/s }
      c: { to: GET /home, rate: 20/s }
      d: { to: GET /spare, rate: 20/s }
      e: { to: GET /needs, rate: 20/s }
    """

  @Test("own answers take no time; a composed one takes its longest part's, and fails with what must be there")
  func routes() async throws {
    let result = ModelReader.read(path: "edge.yaml", files: ModelReader.Files(["edge.yaml": Self.file]))
    let plan = Plan(try #require(result.design, "\(result.diagnostics)"))
    var options = SimulationOptions()
    options.duration = .seconds(60)
    let forecast = try #require(try await Simulation.run(plan, options).first)
    #expect(forecast.violation == nil)
    let found = forecast.routes
    func availability(_ name: String) -> Double { found.first { $0.name == name }?.availability.value ?? -1 }
    #expect(availability("closed") == 0)
    // What a limit refuses is its callers' doing.
    #expect(availability("robots") == 1)
    #expect(availability("home") == 1)
    #expect(availability("spare") == 1)
    #expect(abs(availability("needs") - 0.5) < 0.1)
    let slowest = try #require(found.first { $0.name == "home" }?.latency.p50.value)
    #expect(slowest > 48e6 && slowest < 58e6, "\(slowest) ns: 50 ms, not 50 and 10")
  }

  @Test("a fallback is an answer; another service is asked in the failing one's stead")
  func fallbacks() async throws {
    let file = """
      weir: 1
      system: shop
      gateway:
        listen: 8080
        routes:
          bare: { path: /bare, to: broken }
          omitted: { path: /omitted, to: broken, fallback: omit }
          last: { path: /last, to: broken, fallback: stale }
          other: { path: /other, to: broken, fallback: { to: spare } }
      services:
        broken: { at: ["broken:80"], availability: 50%, work: { mean: 1ms, shape: constant } }
        spare: { instances: 4, work: { mean: 20ms, shape: constant } }
      defaults: { call: { retry: 1, breaker: none } }
      traffic:
        a: { to: GET /bare, rate: 20/s }
        b: { to: GET /omitted, rate: 20/s }
        c: { to: GET /last, rate: 20/s }
        d: { to: GET /other, rate: 20/s }
      """
    let result = ModelReader.read(path: "edge.yaml", files: ModelReader.Files(["edge.yaml": file]))
    let plan = Plan(try #require(result.design, "\(result.diagnostics)"))
    var options = SimulationOptions()
    options.duration = .seconds(60)
    let forecast = try #require(try await Simulation.run(plan, options).first)
    #expect(forecast.violation == nil)
    func availability(_ name: String) -> Double {
      forecast.routes.first { $0.name == name }?.availability.value ?? -1
    }
    #expect(abs(availability("bare") - 0.5) < 0.1)
    for name in ["omitted", "last", "other"] { #expect(availability(name) == 1, "\(name)") }
    // Half of the requests of `other` take the spare's 20 ms.
    let slow = try #require(forecast.routes.first { $0.name == "other" }?.latency.p90.value)
    #expect(slow > 19e6)
  }
}
