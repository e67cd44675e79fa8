// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirModel
import WeirSimulation

/// Traffic of a story that is more or less than usual, for all of it or for a part.
@Suite struct CrowdTests {
  /// Requests a second over five minutes of 40/s, where `ordering` is what the story says of its traffic.
  static func rate(_ ordering: String) async throws -> Double {
    let file = """
      weir: 1
      system: shop
      gateway: { listen: 8080, routes: { all: { path: /**, to: api } } }
      services: { api: { instances: 4, at-once: 64, work: { mean: 5ms, shape: constant } } }
      traffic: { ordering: { to: GET /, rate: 40/s, clients: 200 }, reading: { to: GET /, rate: 1/s } }
      scenarios:
        story: { for: 5m, traffic: { ordering: \(ordering) }, expect: { availability: 90% } }
      """
    var options = SimulationOptions()
    options.scenarios = ["story"]
    options.replications = 4
    let forecast = try #require(try await Simulation.run(MessagesTests.plan(file), options).first)
    #expect(forecast.violation == nil)
    return try #require(forecast.edges.first { $0.name.hasSuffix("→api") }).offered.value - 1
  }

  /// The standard deviation of a rate over 4 × 300 s is below 0.3/s: every bound is more than six of them.
  @Test(
    "as many come as it says, when it says",
    arguments: [
      ("x1", 40), ("x2", 80), ("x0", 0),
      // One minute of five.
      ("{ times: x5, when: 1m, for: 1m }", 72), ("{ times: x0, when: 1m, for: 1m }", 32),
      // A stream that is drawn anew is the same stream.
      ("{ times: x1, when: 1m, for: 1m }", 40),
      // Without an end; without a beginning; longer than the story.
      ("{ times: x0.5, when: 4m }", 36), ("{ times: x3, for: 1m }", 56), ("{ times: x3, when: 4m, for: 1h }", 56),
      ("{ times: x2 }", 80),
    ] as [(String, Double)])
  func rates(_ ordering: String, _ expected: Double) async throws {
    let rate = try await Self.rate(ordering)
    #expect(abs(rate - expected) < max(0.2, expected * 0.05), "\(ordering): \(rate), not \(expected)")
  }
}
