// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// What becomes of messages at those who work on them: requests of several, leases that are over, late work.
@Suite struct DeliveriesTests {
  static let second: Int64 = 1_000_000_000

  /// A program sends a message for each request; one instance with one worker takes them, `batch` in a request at most.
  static func scene(
    rate: Double, batch: Int = 1, work: Int64, loops: Int = 1, settings change: (inout DeliveryQueue.Settings) -> Void
  ) -> Scene {
    var scene = MessageTruthTests.scene(rate: rate, places: 1, work: .constant(Double(work)), settings: change)
    scene.loops = loops
    scene.queues[0].batch = batch
    return scene
  }

  /// As many at a time as there are, so that none waits for a worker.
  static func widen(_ scene: inout Scene) {
    scene.components[1].workers = 64
    scene.plan.services[1].atOnce = 64
  }

  static func observe(_ scene: Scene, seconds: Int64, seed: UInt64 = 1) throws -> MessageCounts {
    let seen = Replication.run(scene, seed: seed, warmUp: 0, length: seconds * second)
    #expect(seen.violation == nil)
    return try #require(seen.observations.first?.messages.first)
  }

  /// One worker, 100 ms a request, ten messages in each, more than it can do: 1000 requests and 10 000 messages in 100 s.
  ///
  /// However many loops there are: one of them makes the requests. Three that had a third of the places each would send
  /// three or four messages at a time.
  @Test("under load every request is full, on any number of loops", arguments: [1, 3])
  func full(_ loops: Int) throws {
    let scene = Self.scene(rate: 300, batch: 10, work: 100_000_000, loops: loops) {
      $0.atOnce = 10
      $0.length = 100_000
    }
    let seen = Replication.run(scene, seed: 1, warmUp: Self.second, length: 100 * Self.second)
    #expect(seen.violation == nil)
    let observation = try #require(seen.observations.first)
    // Give or take those at either end.
    #expect(abs(observation.messages[0].done - 10_000) <= 20, "\(observation.messages[0].done)")
    #expect(abs(observation.edges[1].count - 1000) <= 2, "\(observation.edges[1].count)")
  }

  /// M/M^[1,b]/1 (Gross and Harris, *Fundamentals of Queueing Theory*, §3.2): one server that takes all who wait, b at most.
  ///
  /// Of n that wait while it works the chance is C·rⁿ, where μ·r^(b+1) − (λ + μ)·r + λ = 0; with b = 20 that is r = λ / (λ + μ) but
  /// for a millionth. It works for 1 / (1 − r) / (1 / (1 − r) + μ / λ) of the time, and so makes μ times that requests a second.
  @Test("below that a request has what has come meanwhile", arguments: [1, 3])
  func bulk(_ loops: Int) throws {
    let (lambda, mu) = (40.0, 1 / 0.03)
    var scene = Self.scene(rate: lambda, batch: 20, work: 30_000_000, loops: loops) { $0.atOnce = 20 }
    scene.components[1].operations[0].work = .exponential(mean: 3e7)
    let seen = Replication.run(scene, seed: 1, warmUp: 10 * Self.second, length: 1000 * Self.second)
    #expect(seen.violation == nil)
    let observation = try #require(seen.observations.first)
    let busy = 1 / (1 - lambda / (lambda + mu))
    let requests = 1000 * mu * busy / (busy + mu / lambda)
    // 24 176 requests of 1.65 messages each.
    #expect(abs(observation.edges[1].count / requests - 1) < 0.03, "\(observation.edges[1].count), not \(requests)")
    #expect(abs(observation.messages[0].done - observation.messages[0].accepted) < 50)
  }

  /// A request is refused for any of its messages; none is a dead letter for what another is.
  @Test("who is poisoned fails its request, and is a dead letter alone")
  func poison() throws {
    var scene = Self.scene(rate: 100, batch: 10, work: 20_000_000) { $0.atOnce = 20 }
    scene.faults = [
      FaultModel(.poison(queue: 0, status: 422, share: 0.05), component: -1, when: 0, length: 50 * Self.second)
    ]
    let seen = try Self.observe(scene, seconds: 100)
    // A twentieth of 5000, and 4 times the square root of its variance.
    #expect(abs(seen.dead[2] - 250) < 62, "\(seen.dead)")
    #expect(seen.dead[0] == 0 && seen.dead[1] == 0 && seen.lost == 0)
    #expect(abs(seen.accepted - seen.done - seen.dead[2]) < 20)
    // Innocents among them were delivered again.
    #expect(seen.leased > seen.accepted * 1.05, "\(seen.leased) of \(seen.accepted)")
  }

  /// A lease of 50 ms for work of 100: every one lapses, and the worker ends what it has begun: once.
  @Test("the late work of a dead letter is no second one")
  func lateWork() throws {
    var scene = Self.scene(rate: 5, work: 100_000_000) {
      $0.visibility = .milliseconds(50)
      $0.attempts = 1
      $0.atOnce = 64
    }
    Self.widen(&scene)
    let seen = try Self.observe(scene, seconds: 100)
    #expect(seen.accepted > 400 && seen.dead[0] >= seen.accepted - 1, "\(seen.dead) of \(seen.accepted)")
    #expect(seen.twice == 0, "\(seen.twice)")
  }

  /// The second lease begins when the first is over, and lapses too: each message is worked on twice, and counts once.
  ///
  /// 20 ms between the leases at least: the first's work ends while the second is out, so its answer is too late.
  @Test("the work of two leases is twice", arguments: [1, 4])
  func twice(_ batch: Int) throws {
    var scene = Self.scene(rate: 2, batch: batch, work: 100_000_000) {
      $0.visibility = .milliseconds(60)
      $0.attempts = 2
      $0.atOnce = 64
      $0.backoff.first = .milliseconds(20)
      $0.backoff.max = .milliseconds(20)
      $0.backoff.jitter = 0
    }
    Self.widen(&scene)
    let seen = try Self.observe(scene, seconds: 200)
    #expect(seen.accepted > 350 && seen.done == 0)
    #expect(
      abs(seen.dead[0] - seen.accepted) <= 2 && abs(seen.twice - seen.accepted) <= 3, "\(seen.twice), \(seen.dead)")
  }

  /// A saga that may take an hour has a timer for that; what waits for a retry has one for that, and then the first again.
  ///
  /// In a story of a minute nobody will ever look at them.
  @Test("what is after the end of the story does not fill the agenda")
  func horizon() {
    var scene = MessageTruthTests.scene(rate: 100, places: 64, work: .constant(1e6))
    scene.components[0].operations[0].sends = [SendItem(to: .saga(0))]
    let call = SagaModel.Call(edge: 1, operation: 0)
    var settings = Saga.Settings()
    settings.within = .seconds(3600)
    scene.sagas = [
      SagaModel(name: "s", steps: [.init(act: call, undo: call), .init(act: call, undo: nil)], settings: settings)
    ]
    scene.faults = [FaultModel(.fail(status: 503, share: 0.5), component: 1, when: 0)]
    let end = 60 * Self.second
    var world = World(scene, seed: 1, ends: end)
    var most = 0
    for second in 1...Int64(60) {
      world.run(until: Instant(nanoseconds: second * Self.second))
      most = max(most, world.scheduled)
    }
    #expect(world.violation() == nil)
    // About 200 sagas wait for a retry at a time, and each has a timer.
    #expect(most < 2000, "\(most)")
  }

  /// One place, and whoever has it at 10 s has it for 8 s; calls wait 100 ms for it at the service, and find none.
  ///
  /// That is no attempt of a saga: of five there would be one left, after waits of 1, 2 and 4 s.
  @Test("a service that is full for a while uses up no attempt of a saga", arguments: [1, 3])
  func noPlace(_ loops: Int) throws {
    var scene = MessageTruthTests.scene(rate: 20, places: 1, work: .constant(1e7))
    scene.loops = loops
    scene.plan.edges[1].call.queue.wait = .milliseconds(100)
    scene.components[0].operations[0].sends = [SendItem(to: .saga(0))]
    let call = SagaModel.Call(edge: 1, operation: 0, slots: 4)
    scene.sagas = [SagaModel(name: "s", steps: [.init(act: call, undo: nil)])]
    scene.faults = [
      FaultModel(.slow(by: 8 * Self.second, share: 1), component: 1, when: 10 * Self.second, length: Self.second)
    ]
    let seen = Replication.run(scene, seed: 1, warmUp: 0, length: 60 * Self.second)
    #expect(seen.violation == nil)
    let sagas = try #require(seen.observations.first?.sagas.first)
    #expect(sagas.begun > 1000 && sagas.begun - sagas.finished <= 2, "\(sagas)")
    #expect(
      abs(sagas.calls - sagas.finished) <= 2 && sagas.stuck == 0, "\(sagas.calls) calls, \(sagas.finished) finished")
    // Who came at 10 s has waited 8 s.
    #expect(sagas.times.maximum > 7 * Self.second)
  }
}
