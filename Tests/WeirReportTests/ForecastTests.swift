// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirReport
import WeirSimulation

/// Forecasts as text and as JSON.
@Suite("forecast reports")
struct ForecastTests {
  static func forecast(threads: Int = 2) async -> Forecast {
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: 3, atOnce: 16)], edges: [.init(service: 0)], routes: [.init(edge: 0)]),
      components: [ComponentModel(name: "api", workers: 16, work: .lognormal(median: 4e6, sigma: 0.8))],
      edges: [EdgeModel(name: "gateway→api")], routes: ["api"],
      traffic: [TrafficModel(name: "reading", route: 0, rate: Rate(perSecond: 200), clients: 100)])
    scene.faults = [FaultModel(.kill(count: 1), component: 0, when: 1_000_000_000)]
    scene.network = 50_000
    var options = SimulationOptions()
    options.replications = 10
    options.threads = threads
    return await Simulation.run(
      scene, system: "webapp", scenario: "api-instance-dies",
      expectation: WeirSimulation.Expectation(
        availability: 0.99, latency: [.init(label: "p99", quantile: 0.99, bound: 250e6)]),
      length: 5_000_000_000, options)
  }

  /// The verdict comes first, with what is required, what is expected, and how sure that is.
  @Test("text")
  func text() async {
    let text = ForecastText().text([await Self.forecast()])
    #expect(text.hasPrefix("webapp: api-instance-dies"))
    #expect(text.contains("✓ availability ≥ 99%: met"))
    #expect(text.contains("✓ latency p99 ≤ 250ms: met"))
    #expect(text.contains("gateway→api"))
    #expect(text.contains("instance-exited  api #0"))
    #expect(text.contains("full first: api"))
    #expect(!text.contains("\u{1b}"))
    #expect(!text.split(separator: "\n").contains { $0.hasSuffix(" ") })
    #expect(ForecastText(color: true).text([await Self.forecast()]).contains("\u{1b}[32m"))
  }

  /// A queue whose workers are away for a while: its row, its drain time, what is given up, and the verdict on what is lost.
  static func queued() async -> Forecast {
    var call = CallSettings()
    call.retry.attempts = 1
    call.breaks = false
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: 1), .init(instances: 1, atOnce: 10)],
        edges: [.init(service: 0, call: call), .init(service: 1, call: call)], routes: [.init(edge: 0)]),
      components: [
        ComponentModel(
          name: "api", workers: .max, operations: [OperationModel(work: .none, sends: [SendItem(queue: 0)])]),
        ComponentModel(name: "mailer", workers: 10, work: .constant(1e8)),
      ],
      edges: [EdgeModel(name: "gateway→api"), EdgeModel(name: "emails→mailer")], routes: ["api"],
      traffic: [TrafficModel(name: "ordering", route: 0, rate: Rate(perSecond: 50), method: .unsafe)])
    var settings = DeliveryQueue.Settings()
    settings.atOnce = 10
    scene.queues = [QueueModel(name: "emails", settings: settings, edge: 1)]
    scene.faults = [
      FaultModel(.kill(count: 1), component: 1, when: 1_000_000_000, length: 4_000_000_000),
      FaultModel(.poison(queue: 0, status: 422, share: 0.1), component: 0, when: 20_000_000_000),
    ]
    scene.components[1].isStarted = false
    var options = SimulationOptions()
    options.replications = 3
    return await Simulation.run(
      scene, system: "shop", scenario: "mailer-away", expectation: WeirSimulation.Expectation(lostMessages: 0),
      length: 30_000_000_000, options)
  }

  @Test("queues of messages, as text and as JSON")
  func messages() async {
    let forecast = await Self.queued()
    #expect(forecast.violation == nil)
    let text = ForecastText().text([forecast])
    #expect(text.contains("✓ lost messages ≤ 0: met, 0 (0 … 0)"))
    #expect(text.contains("drained after"))
    #expect(text.contains("dead letters of emails: refused "))
    #expect(!text.split(separator: "\n").contains { $0.hasSuffix(" ") })
    let json = Forecast.json([forecast]).rendered()
    #expect(json.contains("\"drain\""))
    #expect(json.contains("\"in-flight\""))
    #expect(json.contains("\"name\": \"lost messages\""))
  }

  /// The same bytes whatever the number of threads.
  @Test("JSON is the same bytes on any number of threads")
  func json() async {
    let one = Forecast.json([await Self.forecast(threads: 1)]).rendered()
    let two = Forecast.json([await Self.forecast(threads: 4)]).rendered()
    #expect(one == two)
    #expect(one.contains("\"schema\": 1"))
    #expect(one.contains("\"outcome\": \"met\""))
  }

  @Test(
    "times",
    arguments: [(0, "0s"), (950, "950ns"), (1500, "1.5us"), (12_345_678, "12.3ms"), (999_600_000, "1s"), (9e10, "90s")])
  func times(_ nanoseconds: Double, _ text: String) { #expect(ForecastText.time(nanoseconds) == text) }

  @Test("shares", arguments: [(1, "100%"), (0.9995, "99.95%"), (0.5, "50%"), (0.99995, "99.995%"), (0, "0%")])
  func shares(_ share: Double, _ text: String) { #expect(ForecastText.percent(share) == text) }
}
