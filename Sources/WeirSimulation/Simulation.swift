// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirModel

/// What `weir simulate` may be told.
package struct SimulationOptions: Sendable, Equatable {
  /// The stories that are told; nil: the quiet case and every scenario of the file.
  package var scenarios: [String]?
  package var seed: UInt64 = 1
  /// Event loops of the gateway.
  package var loops = 1
  /// How often each story is told; nil: as often as it takes to decide (``SimulationOptions/replicationsMax`` at most).
  package var replications: Int?
  /// Of the quiet case; a scenario lasts as long as it says.
  package var duration = Duration.seconds(60)
  /// Traffic in all, in the proportions of the file; nil: `requirements.load`, or as written.
  package var load: Rate?
  /// One way between two processes of one machine.
  ///
  /// 50 µs: half of what a request over the loopback takes through two sockets and the scheduler on the machine of
  /// `docs/performance.md`; a rack is about the same, a region is 500 µs.
  package var network = Duration.microseconds(50)
  /// Replications at the same time; the result does not depend on it.
  package var threads = 2
  /// Rare events that are kept.
  package var events = 200

  /// Ten observations: Student's t is 2.26 then, and more narrow the interval slowly.
  package static let replicationsMin = 10
  /// Forty: halves the interval of ten, and what is undecided then is close to the line.
  package static let replicationsMax = 40

  package init() {}
}

/// Tells stories in virtual time.
package enum Simulation {
  /// A story that is not in the file.
  package struct UnknownScenario: Error, Equatable {
    package var name: String
    package var known: [String]

    package init(name: String, known: [String]) {
      self.name = name
      self.known = known
    }
  }

  /// Forecasts of a plan's stories, the quiet case first.
  ///
  /// `progress` is told before each story; it runs on whatever thread the caller does.
  package static func run(
    _ plan: Plan, _ options: SimulationOptions = SimulationOptions(), progress: (String) -> Void = { _ in }
  ) async throws(UnknownScenario) -> [Forecast] {
    let names = plan.design.scenarios.map(\.name.text)
    for name in options.scenarios ?? [] where !names.contains(name) {
      throw UnknownScenario(name: name, known: names)
    }
    var forecasts: [Forecast] = []
    if options.scenarios == nil {
      progress("quiet")
      forecasts.append(await run(plan, scenario: nil, options))
    }
    for scenario in plan.design.scenarios where options.scenarios?.contains(scenario.name.text) ?? true {
      progress(scenario.name.text)
      forecasts.append(await run(plan, scenario: scenario, options))
    }
    return forecasts
  }

  /// The forecast of one story; nil is the quiet case.
  package static func run(_ plan: Plan, scenario: Scenario?, _ options: SimulationOptions) async -> Forecast {
    var scene = Scene(plan)
    scene.loops = max(1, options.loops)
    scene.network = max(0, options.network.inNanoseconds)
    if let load = options.load ?? plan.design.requirements.load?.value { scene.scale(to: load.perSecond) }
    let quiet = scene
    if let scenario { scene.apply(scenario, of: plan) }
    let length = (scenario?.length.value ?? options.duration).inNanoseconds
    return await run(
      scene, quiet: quiet, system: plan.design.system.value, scenario: scenario?.name.text,
      expectation: Expectation(scenario?.expect ?? plan.design.requirements), length: length, options)
  }

  /// The forecast of a scene; `quiet` is the same without what goes wrong, by which the warm-up is measured.
  package static func run(
    _ scene: Scene, quiet: Scene? = nil, system: String = "", scenario: String? = nil,
    expectation: Expectation = Expectation(), length: Int64, _ options: SimulationOptions
  ) async -> Forecast {
    let warmUp = Replication.warmUp(quiet ?? scene, seed: Replication.seed(options.seed, 0), length: length)
    // A story is told whole; what goes on as it began can be cut, which doubles the observations.
    let batches = scenario == nil ? 2 : 1
    var done: [Replication] = []
    var wanted = options.replications ?? SimulationOptions.replicationsMin
    while true {
      done += await replicate(scene, done.count..<max(wanted, 1), warmUp: warmUp, length: length, batches, options)
      let forecast = Forecast(
        scene, system: system, scenario: scenario, seed: options.seed, warmUp: warmUp, length: length, batches: batches,
        replications: done, expectation: expectation)
      // The stop rule: more only while something is undecided, and only so many.
      if options.replications != nil || forecast.outcome != .undecided
        || done.count >= SimulationOptions.replicationsMax
      {
        return forecast
      }
      wanted = min(SimulationOptions.replicationsMax, done.count * 2)
    }
  }

  /// Replications by number, some at the same time; in their order, whoever is done first.
  private static func replicate(
    _ scene: Scene, _ numbers: Range<Int>, warmUp: Int64, length: Int64, _ batches: Int, _ options: SimulationOptions
  ) async -> [Replication] {
    await withTaskGroup(of: (Int, Replication).self) { group in
      var results = [Replication?](repeating: nil, count: numbers.count)
      var next = numbers.lowerBound
      func add(_ group: inout TaskGroup<(Int, Replication)>) {
        guard next < numbers.upperBound else { return }
        let number = next
        next += 1
        group.addTask {
          let replication = Replication.run(
            scene, seed: Replication.seed(options.seed, number), warmUp: warmUp, length: length, batches: batches,
            eventsLimit: number == 0 ? options.events : 0)
          return (number, replication)
        }
      }
      for _ in 0..<max(1, options.threads) { add(&group) }
      for await (number, replication) in group {
        results[number - numbers.lowerBound] = replication
        add(&group)
      }
      return results.compactMap { $0 }
    }
  }
}

extension Expectation {
  init(_ requirements: Requirements) {
    self.init(
      availability: requirements.availability?.value,
      latency: requirements.latency.map {
        Bound(label: $0.label, quantile: $0.quantile, bound: Double($0.bound.value.inNanoseconds))
      }, lostMessages: requirements.lostMessages?.value)
    outOfOrder = requirements.outOfOrder?.value
    doneTwice = requirements.doneTwice?.value
    halfDone = requirements.halfDone?.value
    lag = requirements.lag.map { Double($0.value.inNanoseconds) }
    drain = requirements.drain.map { Double($0.value.inNanoseconds) }
  }
}
