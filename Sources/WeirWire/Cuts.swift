// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// The lines of a head that are not passed on, in order, neighbours joined.
///
/// ## Invariants
/// 1. Runs do not touch or overlap, and their starts rise; each is one or more whole lines.
/// 2. `count` is at most half of ``HeadLimits/fieldsMax``: two lines that are both dropped and have none between them
///    are one run.
public struct Cuts: Sendable, Equatable, BitwiseCopyable {
  public static let capacity = HeadLimits.fieldsMax / 2 + 1

  public private(set) var count = 0
  private var runs = FixedArray<51, Run>(repeating: .empty)

  public init() {}

  public subscript(_ index: Int) -> Run { runs[index] }

  mutating func clear() { count = 0 }

  @inline(__always)
  mutating func add(_ start: Int, _ end: Int) {
    if count > 0 && Int(runs[count - 1].end) == start {
      runs[count - 1].end = UInt16(truncatingIfNeeded: end)
    } else {
      runs[count] = Run(start, end)
      count += 1
    }
  }

  mutating func replace(_ index: Int, _ run: Run) { runs[index] = run }

  mutating func remove(_ index: Int) {
    for i in index..<(count - 1) { runs[i] = runs[i + 1] }
    count -= 1
  }

  /// Puts a run that touches no other before the one at `index`.
  mutating func open(_ index: Int, _ run: Run) {
    for i in stride(from: count, to: index, by: -1) { runs[i] = runs[i - 1] }
    runs[index] = run
    count += 1
  }

  public static func == (a: Cuts, b: Cuts) -> Bool {
    if a.count != b.count { return false }
    for i in 0..<a.count where a.runs[i] != b.runs[i] { return false }
    return true
  }
}
