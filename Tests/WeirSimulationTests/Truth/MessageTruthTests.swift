// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// Queues of messages against closed forms: through gateway, program, `DeliveryQueue`, pusher, call and instance.
@Suite("truth: queues of messages")
struct MessageTruthTests {
  /// A program without work of its own sends a message for each request; `places` workers take them from the queue.
  static func scene(
    rate: Double, places: Int, work: WorkModel, instances: Int = 1,
    settings change: (inout DeliveryQueue.Settings) -> Void = { _ in }
  ) -> Scene {
    var settings = DeliveryQueue.Settings()
    settings.atOnce = places * instances
    settings.visibility = .seconds(3600)
    change(&settings)
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: 1), .init(instances: instances, atOnce: Int32(places))],
        edges: [.init(service: 0, call: Scenes.patientCall()), .init(service: 1, call: Scenes.patientCall())],
        routes: [.init(edge: 0)]),
      components: [
        ComponentModel(
          name: "api", workers: .max, operations: [OperationModel(work: .none, sends: [SendItem(queue: 0)])]),
        ComponentModel(name: "worker", workers: places, work: work),
      ],
      edges: [EdgeModel(name: "gateway → api"), EdgeModel(name: "emails → worker")], routes: ["all"],
      traffic: [TrafficModel(name: "t", route: 0, rate: Rate(perSecond: rate), method: .unsafe)])
    scene.queues = [QueueModel(name: "emails", settings: settings, edge: 1)]
    return scene
  }

  /// GT-MMC: a message's wait for its delivery is a customer's wait for one of c servers, whoever keeps the line.
  @Test(
    "GT-MMC through a queue",
    arguments: erlangCRows.filter {
      [1, 2, 4, 16].contains($0.c) && $0.load < 0.95 && (Truth.isWhole || $0.load == 0.8)
    })
  func mmc(_ row: ErlangC) {
    let unit = Scenes.unit
    let scene = Self.scene(rate: row.load * Double(row.c) * 1e9 / unit, places: row.c, work: .exponential(mean: unit))
    let seen = Truth.observe(scene, customers: 200_000, settle: QueueTruthTests.settle(row.load) / Double(row.c))
    let all = [
      Truth.compare(
        "GT-MMC", "a queue of messages, ρ \(row.load) c \(row.c) mean wait", row.wait,
        seen.map { $0.messages[0].waits.sum },
        seen.map { $0.messages[0].waits.count }, scale: 1 / unit),
      Truth.compare(
        "GT-MMC", "a queue of messages, ρ \(row.load) c \(row.c) mean time", row.wait + 1,
        seen.map { $0.messages[0].times.sum }, seen.map { $0.messages[0].times.count }, scale: 1 / unit),
      // L = λW, in the mean: the queue's depth is λ times the mean time.
      Truth.compare(
        "GT-LITTLE", "a queue of messages, ρ \(row.load) c \(row.c) depth", row.load * Double(row.c) * (row.wait + 1),
        seen.map { $0.messages[0].depth * $0.length }, seen.map(\.length)),
    ]
    for c in all { #expect(abs(c.z) < 4, "\(c)") }
    Truth.keep(all)
  }

  /// GT-DRAIN: the workers are away for 30 s at 80 messages a second: 2400 wait, which 100 a second work off in 120 s.
  ///
  /// Deliveries that nobody takes are tried again by the queue's own backoff, as it is by default; nothing is lost.
  @Test("GT-DRAIN through a queue")
  func drain() {
    // Ten workers of 100 ms each make 100 a second.
    var scene = Self.scene(rate: 80, places: 10, work: .constant(1e8))
    scene.faults = [FaultModel(.kill(count: 1), component: 1, when: 10_000_000_000, length: 30_000_000_000)]
    scene.components[1].isStarted = false
    var peaks: [Double] = []
    var drains: [Double] = []
    for seed in 1...20 {
      let replication = Replication.run(
        scene, seed: UInt64(seed), warmUp: 10_000_000_000, length: 300_000_000_000)
      #expect(replication.violation == nil)
      for seen in replication.observations {
        peaks.append(seen.messages[0].peak)
        drains.append(seen.messages[0].drain / 1e9)
        #expect(seen.messages[0].drain > 0, "the backlog ends")
        #expect(seen.messages[0].lost == 0)
        #expect(seen.messages[0].dead == [0, 0, 0])
      }
    }
    let ones = [Double](repeating: 1, count: 20)
    let all = [
      Truth.compare("GT-DRAIN", "messages that wait at most", 2400, peaks, ones),
      Truth.compare("GT-DRAIN", "seconds until a hundredth of them is left", 0.99 * 120, drains, ones),
    ]
    for result in all { #expect(abs(result.simulated / result.exact - 1) < 0.02, "\(result)") }
    Truth.keep(all)
  }
}
