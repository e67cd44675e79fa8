// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirSimulation

/// How many customers a second go through the whole pipeline; timed only when `WEIR_BENCH` asks for it.
///
/// `Benchmarks/simpy/compare` builds with the shipped flags, runs this, and SimPy beside it.
@Suite("simulation benchmark")
struct SimulationBenchmarkTests {
  /// What is timed is what is true: M/M/4 at .8 takes 1.7455 in the mean.
  @Test("the benchmark's queue is M/M/4", arguments: [1, 4])
  func mean(_ instances: Int) {
    let run = SimulationBenchmark.run(seconds: 60, instances: instances)
    #expect(abs(run.mean / 1.7455406 - 1) < 0.05)
  }

  @Test("customers a second", .enabled(if: ProcessInfo.processInfo.environment["WEIR_BENCH"] != nil))
  func speed() {
    for instances in [1, 4] {
      var best = 0.0
      var mean = 0.0
      for _ in 0..<5 {
        let began = processorTime()
        let run = SimulationBenchmark.run(seconds: 300, instances: instances)
        best = max(best, Double(run.customers) / (processorTime() - began))
        mean = run.mean
      }
      print("weir \(instances) \(Int(best)) \(mean)")
    }
  }

  /// Seconds of processor time of this process: a busy machine does not count against it.
  private func processorTime() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }
}
