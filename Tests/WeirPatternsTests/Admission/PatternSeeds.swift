// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// Seeds of the walks, and how much is sampled; `WEIR_SEED=17 swift test` plays one seed of every walk again.
enum PatternSeeds {
  static func seeds(_ count: Int) -> [UInt64] {
    if let text = ProcessInfo.processInfo.environment["WEIR_SEED"], let seed = UInt64(text) { return [seed] }
    return (0..<UInt64(count)).map { $0 }
  }

  /// Records a failure where it was called, for a walk that ends with `return fail(…)`.
  static func fail(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    Issue.record(Comment(rawValue: what), sourceLocation: sourceLocation)
  }

  /// Debug builds are twenty times slower: they sample less.
  static var isDebug: Bool {
    var isDebug = false
    assert(
      {
        isDebug = true
        return true
      }())
    return isDebug
  }

  /// A sample size for release builds; debug builds take a twentieth.
  static func samples(_ count: Int) -> Int { isDebug ? count / 20 : count }
}

/// A mean with its standard error from equal batches: what is correlated within a batch does not flatter the error.
struct BatchMeans {
  private var sums: [Double] = []
  private var current = 0.0
  private var inCurrent = 0
  private let batch: Int

  init(of samples: Int, batches: Int = 40) { batch = max(1, samples / batches) }

  mutating func add(_ value: Double) {
    current += value
    inCurrent += 1
    if inCurrent == batch {
      sums.append(current / Double(batch))
      current = 0
      inCurrent = 0
    }
  }

  var mean: Double { sums.reduce(0, +) / Double(sums.count) }

  var standardError: Double {
    let mean = mean
    let squares = sums.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (squares / Double(sums.count - 1) / Double(sums.count)).squareRoot()
  }
}
