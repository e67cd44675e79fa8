// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

/// A recorded run, replayed into fresh flows, gives the same answers bit for bit (RL-1).
@Suite struct RecorderTests {
  @Test("a random run replays; with other chance it does not")
  func replay() throws {
    var differing = 0
    for seed in seeds(12) {
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
        #expect(fresh.state.upstreams == recorded.state.upstreams, "seed \(seed), loop \(loop): another state")
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

  private static func action(_ input: RecordedInput) -> CallAction {
    if case .call(let step) = input.answer { step.action } else { .none }
  }
}
