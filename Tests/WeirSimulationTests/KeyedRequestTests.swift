// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirModel
import WeirSimulation

/// What the gateway's records of keys change in a forecast.
@Suite("keyed requests in a forecast")
struct KeyedRequestTests {
  private static func file(_ idempotency: String) -> String {
    """
    weir: 1
    system: shop
    gateway:
      listen: 8080
      routes: { orders: { path: /orders, methods: [POST], to: api\(idempotency) } }
    services:
      api: { instances: 3, at-once: 50, work: { mean: 200ms }, operations: { POST /orders: {} } }
    traffic:
      ordering: { to: POST /orders, rate: 100/s, clients: 50 }
    scenarios:
      deaths:
        for: 20s
        faults:
          - { when: 8s, kill: api, count: 1 }
          - { when: 12s, kill: api, count: 1 }
    """
  }

  private static func lost(_ idempotency: String) async throws -> (availability: Double, lost: Double) {
    let result = ModelReader.read(path: "shop.yaml", files: ModelReader.Files(["shop.yaml": file(idempotency)]))
    var options = SimulationOptions()
    options.scenarios = ["deaths"]
    let forecasts = try await Simulation.run(Plan(try #require(result.design, "\(result.diagnostics)")), options)
    let forecast = try #require(forecasts.first)
    #expect(forecast.violation == nil)
    return (
      forecast.total.availability.value, forecast.total.reasons.first { $0.name == "connection-lost" }?.share ?? 0
    )
  }

  /// An instance that dies takes the POSTs with it that it worked on: with a key they are made again, elsewhere.
  @Test("a POST with a key is made again when its instance dies")
  func repeated() async throws {
    let plain = try await Self.lost("")
    let keyed = try await Self.lost(", idempotency: 24h")
    #expect(plain.lost > 0 && keyed.lost == 0)
    #expect(keyed.availability > plain.availability)
  }
}
