// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirSimulation

extension Estimate {
  func holds(_ truth: Double) -> Bool { low <= truth && truth <= high }
}

/// How often the simulator's own 95 % intervals hold the truth.
enum Coverage {
  /// Of 200: 190 are expected, less 4σ; one that never missed would be too wide.
  static let enough = 178...199

  /// 200 seeds of ten replications each; by question, in how many the interval held.
  static func held(
    _ scene: Scene, customers: Double, settle: Double, _ questions: @Sendable ([Observation]) -> [Bool]
  ) -> [Int] {
    let length = Int64(customers / scene.load * 1e9)
    let held = Mutex([Int]())
    DispatchQueue.concurrentPerform(iterations: 200) { seed in
      let answers = questions(
        (0..<10).flatMap { i in
          Replication.run(
            scene, seed: Replication.seed(UInt64(seed + 1), i), warmUp: Int64(settle * Scenes.unit), length: length
          ).observations
        })
      held.withLock { held in
        if held.isEmpty { held = [Int](repeating: 0, count: answers.count) }
        for i in answers.indices where answers[i] { held[i] += 1 }
      }
    }
    return held.withLock { $0 }
  }
}

/// SM-2, beside M/M/1 and M/M/4 in ``NetworkTruthTests``.
@Suite("truth: intervals")
struct CoverageTruthTests {
  /// Work that varies (cv² 4) makes customers depend on each other for longer; 1 + .7 · 5 ÷ 2 ÷ .3 by GT-MG1.
  @Test("95 % intervals hold the truth of hyperexponential work")
  func hyperexponential() {
    let held = Coverage.held(
      Scenes.single(load: 0.7, work: .hyperexponential(mean: Scenes.unit, cv2: 4)), customers: 5000,
      settle: QueueTruthTests.settle(0.7) * 2.5
    ) { seen in
      [
        Estimating.ratio(seen.map { $0.routeTimes[0].sum }, seen.map { $0.routeTimes[0].count })
          .scaled(by: 1 / Scenes.unit).holds(1 + 0.7 * 5 / 0.6)
      ]
    }
    #expect(held.allSatisfy { Coverage.enough.contains($0) }, "held \(held) of 200")
  }
}
