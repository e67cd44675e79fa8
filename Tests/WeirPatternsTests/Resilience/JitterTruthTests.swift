// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

/// GT-JIT: the simulation behind *Exponential Backoff and Jitter* (AWS Architecture Blog, 2015), with ``Backoff``'s waits.
///
/// N clients each want to write one row once. A write needs the version that a read brought; if another write came
/// between, it fails and the client waits, reads and writes again. Each message takes |N(10, 2)| ms. The n-th wait is made
/// from min(2000, 5·2ⁿ) ms, so ours begin with 10 ms; the decorrelated ones begin with 5.
struct JitterTruthTests {
  /// Published simulation, run by the keepers of the ground truth: completion in ms ± half of the 95 % interval, calls.
  struct Truth: Sendable {
    var clients: Int
    var kind: Backoff.Settings.Kind
    var noWait = false
    var time: Double
    var half: Double
    var calls: Double
  }

  static let truths: [Truth] = [
    Truth(clients: 1, kind: .seed, noWait: true, time: 40, half: 0.5, calls: 1),
    Truth(clients: 10, kind: .none, noWait: true, time: 378, half: 3, calls: 50.7),
    Truth(clients: 10, kind: .none, time: 3393, half: 121, calls: 50.6),
    Truth(clients: 10, kind: .equal, time: 729, half: 18, calls: 42.6),
    Truth(clients: 10, kind: .full, time: 471, half: 12, calls: 39.1),
    Truth(clients: 10, kind: .decorrelated, time: 439, half: 8, calls: 37.7),
    Truth(clients: 50, kind: .none, noWait: true, time: 1142, half: 4, calls: 690),
    Truth(clients: 50, kind: .none, time: 36310, half: 319, calls: 624),
    Truth(clients: 50, kind: .equal, time: 4269, half: 55, calls: 347.5),
    Truth(clients: 50, kind: .full, time: 2947, half: 54, calls: 332.6),
    Truth(clients: 50, kind: .decorrelated, time: 2206, half: 45, calls: 374.3),
    Truth(clients: 100, kind: .none, noWait: true, time: 2027, half: 6, calls: 2426),
    Truth(clients: 100, kind: .none, time: 63647, half: 496, calls: 1854),
    Truth(clients: 100, kind: .equal, time: 6574, half: 90, calls: 813),
    Truth(clients: 100, kind: .full, time: 4889, half: 71, calls: 796),
    Truth(clients: 100, kind: .decorrelated, time: 4630, half: 103, calls: 1003),
  ]

  /// Times within four standard errors of both simulations together; calls within that and the stated 1 %.
  @Test("waits give the published completion times and calls", arguments: truths)
  func published(truth: Truth) {
    // Release runs as many as the truth's own; a debug build a tenth, with wider errors to match.
    #if DEBUG
      let runs = truth.clients == 10 ? 100 : 15
    #else
      let runs = truth.clients == 100 ? 150 : 300
    #endif
    var settings = Backoff.Settings()
    settings.kind = truth.kind
    settings.first = truth.noWait ? .zero : .milliseconds(truth.kind == .decorrelated ? 5 : 10)
    settings.max = truth.noWait ? .zero : .seconds(2)
    let backoff = Backoff(settings)
    var random = SeededRandom(seed: 11, stream: "\(truth.clients) \(truth.kind)")
    var times: [Double] = []
    var calls: [Double] = []
    for _ in 0..<runs {
      let (time, count) = Self.run(clients: truth.clients, backoff: backoff, using: &random)
      times.append(time / 1e6)
      calls.append(Double(count))
    }
    let (time, timeError) = Self.mean(times)
    let (count, countError) = Self.mean(calls)
    let theirs = truth.half / 1.96
    // The printed values are rounded: half a unit of their last place is allowed on top.
    #expect(abs(time - truth.time) <= 4 * (timeError * timeError + theirs * theirs).squareRoot() + 0.5)
    #expect(abs(count - truth.calls) <= 4 * countError + truth.calls * 0.01 + 0.05)
    print(
      "GT-JIT \(truth.clients) \(truth.noWait ? "no wait" : "\(truth.kind)"): \(Int(time)) ms (\(Int(truth.time))),",
      "\((count * 10).rounded() / 10) calls (\(truth.calls))")
  }

  private enum Step { case read, readAnswer, write, writeAnswer }

  private struct Event {
    var at: Int64
    var client: Int
    var step: Step
    var payload: Int
  }

  private static func run(clients: Int, backoff: Backoff, using random: inout SeededRandom) -> (Double, Int) {
    var version = 0
    var calls = 0
    var attempts = [Int](repeating: 0, count: clients)
    var previous = [Int64](repeating: 0, count: clients)
    var heap: [Event] = []
    for client in 0..<clients {
      push(Event(at: delay(&random), client: client, step: .read, payload: 0), &heap)
    }
    var now: Int64 = 0
    while let event = pop(&heap) {
      now = event.at
      let client = event.client
      switch event.step {
      case .read:
        push(Event(at: now + delay(&random), client: client, step: .readAnswer, payload: version), &heap)
      case .readAnswer:
        push(Event(at: now + delay(&random), client: client, step: .write, payload: event.payload), &heap)
      case .write:
        calls += 1
        let won = event.payload == version
        if won { version += 1 }
        push(Event(at: now + delay(&random), client: client, step: .writeAnswer, payload: won ? 1 : 0), &heap)
      case .writeAnswer:
        guard event.payload == 0 else { continue }
        attempts[client] += 1
        let wait = backoff.wait(after: attempts[client], previous: previous[client], using: &random)
        previous[client] = wait
        push(Event(at: now + delay(&random) + wait, client: client, step: .read, payload: 0), &heap)
      }
    }
    return (Double(now), calls)
  }

  /// |N(10, 2)| ms by Box and Muller.
  private static func delay(_ random: inout SeededRandom) -> Int64 {
    let radius = (-2 * log(1 - random.unit())).squareRoot()
    return Int64(abs(10 + 2 * radius * cos(2 * .pi * random.unit())) * 1e6)
  }

  private static func push(_ event: Event, _ heap: inout [Event]) {
    heap.append(event)
    var i = heap.count - 1
    while i > 0, heap[i].at < heap[(i - 1) / 2].at {
      heap.swapAt(i, (i - 1) / 2)
      i = (i - 1) / 2
    }
  }

  private static func pop(_ heap: inout [Event]) -> Event? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if heap.isEmpty { return first }
    heap[0] = last
    var i = 0
    while true {
      var least = i
      for child in [2 * i + 1, 2 * i + 2] where child < heap.count && heap[child].at < heap[least].at { least = child }
      if least == i { return first }
      heap.swapAt(i, least)
      i = least
    }
  }

  /// The mean and its standard error.
  private static func mean(_ values: [Double]) -> (Double, Double) {
    let n = Double(values.count)
    let mean = values.reduce(0, +) / n
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, (squares / (n - 1) / n).squareRoot())
  }
}
