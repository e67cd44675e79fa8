// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// A recorded run, replayed into fresh flows, gives the same answers bit for bit (RL-1).
@Suite struct RecorderTests {
  @Test("a random run replays, to the same state; with other chance it does not")
  func replay() throws {
    var differing = 0
    for seed in Array(1...12) as [UInt64] {
      var walk = Walk(seed: seed, records: 1_000_000)
      let wrong = walk.trouble(until: at(5000))
      #expect(wrong == nil)
      let world = walk.world
      let views = world.plan.edges.indices.map { NodeFlows(plan: world.plan, seed: seed).view($0) }
      for loop in world.flows.indices {
        var recorded = world.flows[loop]
        let taken = recorded.takeRecording()
        let recording = try #require(taken)
        #expect(!recording.isCut)
        var fresh = LoopFlows(plan: world.plan, views: views, loop: loop, loops: world.flows.count, seed: seed)
        let difference = recording.replay(into: &fresh)
        #expect(difference == nil, "seed \(seed), loop \(loop), input \(String(describing: difference))")
        #expect(Self.whole(&fresh, of: world.books[loop]) == Self.whole(&recorded, of: world.books[loop]))
        if difference != nil { continue }
        // Another seed of chance: the waits differ, and one that differs is told at once.
        var other = LoopFlows(plan: world.plan, views: views, loop: loop, loops: world.flows.count, seed: seed + 1000)
        var cut = recording
        cut.inputs = Array(
          recording.inputs.prefix { input in if case .attempt = Self.action(input) { false } else { true } })
        if cut.inputs.count < recording.inputs.count {
          cut.inputs.append(recording.inputs[cut.inputs.count])
          if cut.replay(into: &other) != nil { differing += 1 }
        }
      }
    }
    #expect(differing > 2, "the test can fail: other draws choose other instances")
  }

  /// Everything a loop holds: callees, ledger and chance, and the calls that are open.
  ///
  /// Events are handed out first, for taking them is no input.
  private struct Whole: Equatable {
    var state: LoopState
    var calls: [UpstreamCall]
    var counts: [Int]
  }

  private static func whole(_ flows: inout LoopFlows, of books: [Slot: MockWorld.Book]) -> Whole {
    _ = flows.takeEvents()
    let slots = books.keys.sorted { $0.index < $1.index }
    return Whole(
      state: flows.state, calls: slots.filter { flows.calls.isLive($0) }.map { flows.calls[$0] },
      counts: [flows.calls.count, flows.requests.count])
  }

  @Test("with any one setting changed a run does not replay", arguments: 0..<13)
  func otherSettings(index: Int) throws {
    let edits: [(inout CallSettings) -> Void] = [
      { $0.timeout = .milliseconds(350) }, { $0.attempt = .milliseconds(400) }, { $0.connect = .milliseconds(400) },
      { $0.retry.attempts = 2 }, { $0.retry.statuses = [429, 502, 504] }, { $0.retry.onLostBeforeHead = false },
      { $0.backoff.first = .milliseconds(200) }, { $0.breaks = false },
      { $0.balance.algorithm = .roundRobin }, { $0.queue.length = 1 }, { $0.queue.wait = .milliseconds(60) },
      { $0.atOnce = 2 }, { $0.optional = true },
    ]
    let settings: (inout CallSettings) -> Void = {
      $0.timeout = .milliseconds(600)
      $0.attempt = .milliseconds(300)
      $0.connect = .milliseconds(200)
      $0.queue.length = 4
      $0.queue.wait = .milliseconds(30)
      $0.instanceBreaker.rest = .milliseconds(500)
      $0.serviceBreaker = $0.instanceBreaker
    }
    var world = MockWorld(onePlan(instances: 3, atOnce: 2, edit: settings), seed: 5, records: 100_000)
    // Enough to fill the queue; in the middle nobody answers, and the callee's breaker opens.
    world.moods[0] = [.chaos, .chaos, .answers(200, 20)]
    for i in 0..<3000 { world.arrive(at(Int64(i) * 2)) }
    world.run(until: at(3000))
    world.moods[0] = [.refuses, .refuses, .refuses]
    world.run(until: at(4500))
    world.moods[0] = [.chaos, .chaos, .answers(200, 20)]
    world.run(until: at(8000))
    #expect(world.wrong() == nil)
    let taken = world.flows[0].takeRecording()
    let recording = try #require(taken)
    func replays(_ edit: (inout CallSettings) -> Void) -> Bool {
      let plan = onePlan(instances: 3, atOnce: 2) {
        settings(&$0)
        edit(&$0)
      }
      var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 5).view(0)], seed: 5)
      return recording.replay(into: &flows) == nil
    }
    #expect(replays { _ in })
    #expect(!replays(edits[index]))
  }

  @Test("a recorder that is full says so, and what it has replays")
  func full() throws {
    let plan = onePlan()
    let view = NodeFlows(plan: plan, seed: 1).view(0)
    var flows = LoopFlows(plan: plan, views: [view], seed: 1, records: 3)
    for i in 0..<5 { _ = flows.begin(call: 0, facts: RequestFacts(), now: at(Int64(i))) }
    let taken = flows.takeRecording()
    let recording = try #require(taken)
    #expect(recording.isCut && recording.inputs.count == 3)
    var fresh = LoopFlows(plan: plan, views: [view], seed: 1)
    let difference = recording.replay(into: &fresh)
    #expect(difference == nil)
    _ = flows.begin(call: 0, facts: RequestFacts(), now: at(9))
    let next = flows.takeRecording()
    #expect(next?.isCut == false && next?.inputs.count == 1)
  }

  private static func action(_ input: RecordedInput) -> CallAction {
    if case .call(let step) = input.answer { step.action } else { .none }
  }
}
