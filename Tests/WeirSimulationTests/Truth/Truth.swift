// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// One comparison with a number that nobody on this project made.
struct Comparison: Sendable {
  var id: String
  var name: String
  var exact: Double
  var simulated: Double
  var error: Double

  /// How many standard errors the simulated number is off.
  var z: Double { error > 0 ? (simulated - exact) / error : (simulated == exact ? 0 : .infinity) }
}

/// Runs scenes and compares; with `WEIR_TRUTH` set everything is run longer and the table is written to that file.
enum Truth {
  static let page = ProcessInfo.processInfo.environment["WEIR_TRUTH"]
  static var isWhole: Bool { page != nil }
  /// Observations of a comparison.
  static let replications = 20

  private static let table = Mutex<[Comparison]>([])

  static func keep(_ comparisons: [Comparison]) {
    guard let page else { return }
    let all = table.withLock { table in
      table += comparisons
      return table
    }
    var text = "| id | case | exact | simulated | standard error | z |\n|---|---|---|---|---|---|\n"
    for c in all.sorted(by: { ($0.id, $0.name) < ($1.id, $1.name) }) {
      text += "| \(c.id) | \(c.name) | \(short(c.exact)) | \(short(c.simulated)) | \(short(c.error)) | "
      text += String(format: "%+.2f", c.z) + " |\n"
    }
    try? text.write(toFile: page, atomically: true, encoding: .utf8)
  }

  static func short(_ x: Double) -> String { String(format: "%.5g", x) }

  /// Observations of a scene: `customers` in all, after a tenth of a replication as warm-up and `settle` milliseconds.
  ///
  /// In the whole suite there are four times as many.
  static func observe(_ scene: Scene, customers: Double, settle: Double = 0, seed: UInt64 = 1) -> [Observation] {
    let wanted = customers * (isWhole ? 4 : 1)
    let length = wanted / scene.load * 1e9 / Double(replications)
    let warmUp = Int64(length / 10 + settle * Scenes.unit)
    let results = Mutex([Int: Observation]())
    let broken = Mutex<String?>(nil)
    DispatchQueue.concurrentPerform(iterations: replications) { i in
      let replication = Replication.run(
        scene, seed: Replication.seed(seed, i), warmUp: warmUp, length: Int64(length))
      if let violation = replication.violation { broken.withLock { $0 = violation } }
      results.withLock { $0[i] = replication.observations.first }
    }
    if let violation = broken.withLock({ $0 }) { fatalError("the audit failed: \(violation)") }
    return results.withLock { results in (0..<replications).compactMap { results[$0] } }
  }

  /// Σ sums ÷ Σ counts against the exact value.
  static func compare(
    _ id: String, _ name: String, _ exact: Double, _ sums: [Double], _ counts: [Double], scale: Double = 1
  ) -> Comparison {
    let estimate = Estimating.ratio(sums, counts)
    let half = (estimate.high - estimate.low) / 2
    let t = Mathematics.studentQuantile(0.975, freedom: sums.count - 1)
    return Comparison(
      id: id, name: name, exact: exact, simulated: estimate.value * scale, error: half / t * scale)
  }

  /// A quantile: the share of customers below the exact one must be the quantile's.
  static func compareQuantile(_ id: String, _ name: String, _ q: Double, exact: Double, _ samples: [Sample])
    -> Comparison
  {
    let estimate = Estimating.quantile(q, samples)
    let t = Mathematics.studentQuantile(0.975, freedom: samples.count - 1)
    return Comparison(
      id: id, name: name, exact: exact, simulated: estimate.value / Scenes.unit,
      error: (estimate.high - estimate.low) / 2 / t / Scenes.unit)
  }
}
