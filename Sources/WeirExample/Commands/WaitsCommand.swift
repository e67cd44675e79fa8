// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import NIOCore
import NIOPosix

/// Measures how late waits end on this machine: what every service time of these programs is too long by.
struct WaitsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "waits", abstract: "Measures by how much a wait is overslept on this machine.")

  @Option(help: "How many waits of each kind.") var count = 2000
  @Option(help: "The length of each.") var wait = TimeLength(nanoseconds: 4_000_000)

  func run() async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    var byLoop = LatencyTally()
    var bySleep = LatencyTally()
    // In turns, so that both see the same machine.
    for _ in 0..<count {
      let due = NIODeadline.now() + .nanoseconds(wait.nanoseconds)
      await loop.wait(until: due)
      byLoop.record((NIODeadline.now() - due).nanoseconds)
      let end = NIODeadline.now() + .nanoseconds(wait.nanoseconds)
      try await Task.sleep(for: .nanoseconds(wait.nanoseconds), tolerance: .zero)
      bySleep.record((NIODeadline.now() - end).nanoseconds)
    }
    print("overslept on \(count) waits of \(wait.text), in µs: mean  p50  p99  max")
    for (name, tally) in [("event loop", byLoop), ("Task.sleep", bySleep)] {
      let figures = [tally.mean, Double(tally.quantile(0.5)), Double(tally.quantile(0.99)), Double(tally.maximum)]
      print("  \(name): " + figures.map { "\(Int($0 / 1000))" }.joined(separator: "  "))
    }
  }
}
