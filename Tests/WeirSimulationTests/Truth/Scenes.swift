// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// Scenes of the textbook: one time unit is a millisecond.
enum Scenes {
  /// A unit of time in nanoseconds: the mean service time of the tables.
  static let unit = 1_000_000.0

  /// Calls that nothing ends but their answer: no retry, no breaker, an hour of time, an unbounded queue.
  static func patientCall(queue: Int = 1 << 16) -> CallSettings {
    var call = CallSettings()
    call.timeout = .seconds(3600)
    call.attempt = .seconds(3600)
    call.retry.attempts = 1
    call.breaks = false
    call.queue.length = queue
    call.queue.wait = .seconds(3600)
    return call
  }

  /// One service behind the gateway: `instances` of `places` each, which Weir's own queue feeds.
  static func single(
    load: Double, instances: Int = 1, places: Int = 1, work: WorkModel = .exponential(mean: unit),
    call: CallSettings = patientCall()
  ) -> Scene {
    let rate = load * Double(instances * places) / work.mean * 1e9
    return Scene(
      plan: FlowPlan(
        services: [.init(instances: instances, atOnce: Int32(places))],
        edges: [.init(service: 0, call: call)], routes: [.init(edge: 0)]),
      components: [ComponentModel(name: "s", workers: places, work: work)],
      edges: [EdgeModel(name: "gateway → s")], routes: ["all"],
      traffic: [TrafficModel(name: "t", route: 0, rate: Rate(perSecond: rate))])
  }
}
