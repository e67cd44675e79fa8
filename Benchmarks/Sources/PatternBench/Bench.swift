// SPDX-License-Identifier: Apache-2.0
import Foundation

/// Measures decisions: the median of rounds in nanoseconds of CPU time, and heap allocations counted by the preloaded shim.
struct Bench {
  struct Row {
    var name: String
    var nanoseconds: Double
    /// Allocations a decision; nil when the shim is not preloaded.
    var allocations: Double?
  }

  var rows: [Row] = []
  /// Only names that contain this are measured.
  var filter = ""

  private let allocationCount: (@convention(c) () -> UInt)? = {
    guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: 0), "weir_allocations") else { return nil }
    return unsafeBitCast(symbol, to: (@convention(c) () -> UInt).self)
  }()

  /// Runs `decision` for numbers from 0 up, in rounds; `setUp` makes the state it works on, outside of the clock.
  ///
  /// The state is made once: what is measured is the steady state, after a first round that only warms it up.
  @inline(__always)
  mutating func measure<State>(
    _ name: String, count: Int = 400_000, rounds: Int = 9, setUp: () -> State, decision: (inout State, Int) -> Void
  ) {
    guard filter.isEmpty || name.lowercased().contains(filter.lowercased()) else { return }
    var state = setUp()
    var number = 0
    var times: [Double] = []
    times.reserveCapacity(rounds)
    var before: UInt = 0
    for round in 0...rounds {
      if round == 1 { before = allocationCount?() ?? 0 }
      let start = Bench.now()
      for _ in 0..<count {
        decision(&state, number)
        number &+= 1
      }
      let end = Bench.now()
      if round > 0 { times.append(Double(end - start) / Double(count)) }
    }
    let after = allocationCount?() ?? 0
    times.sort()
    let allocations = allocationCount == nil ? nil : Double(after - before) / Double(count * rounds)
    rows.append(Row(name: name, nanoseconds: times[rounds / 2], allocations: allocations))
    print(line(rows[rows.count - 1]))
  }

  private func line(_ row: Row) -> String {
    let allocations = row.allocations.map { String(format: "%.3f", $0) } ?? "not counted"
    return "| \(row.name) | \(String(format: "%.1f", row.nanoseconds)) | \(allocations) |"
  }

  /// The thread's own CPU time: a busy neighbour that takes the core away does not count.
  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// Where results go to.
nonisolated(unsafe) private var sink: UInt8 = 0

/// Uses a result, so that the work for it is not optimised away.
@inline(never)
func keep<T>(_ value: T) {
  withUnsafeBytes(of: value) { bytes in
    if let first = bytes.first { sink &+= first }
  }
}
