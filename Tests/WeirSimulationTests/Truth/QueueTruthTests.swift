// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

struct ErlangC: Sendable, CustomTestStringConvertible {
  var load: Double
  var c: Int
  var waits: Double
  var wait: Double
  var w99: Double
  /// Only in the whole suite: it takes long.
  var isLong = false
  var testDescription: String { "M/M/\(c) \(load)" }
}

let erlangCRows: [ErlangC] = [
  .init(load: 0.5, c: 1, waits: 0.5, wait: 1, w99: 7.82405),
  .init(load: 0.5, c: 2, waits: 0.3333333, wait: 0.3333333, w99: 3.50656),
  .init(load: 0.5, c: 4, waits: 0.1739130, wait: 0.08695652, w99: 1.42799),
  .init(load: 0.5, c: 8, waits: 0.05904399, wait: 0.01476100, w99: 0.443924),
  .init(load: 0.5, c: 16, waits: 0.009018810, wait: 0.001127351, w99: 0),
  .init(load: 0.7, c: 1, waits: 0.7, wait: 2.333333, w99: 14.1617),
  .init(load: 0.7, c: 4, waits: 0.4286543, wait: 0.3572119, w99: 3.13172),
  .init(load: 0.7, c: 64, waits: 0.004412552, wait: 0.0002298204, w99: 0),
  .init(load: 0.8, c: 1, waits: 0.8, wait: 4, w99: 21.9101),
  .init(load: 0.8, c: 2, waits: 0.7111111, wait: 1.777778, w99: 10.6606),
  .init(load: 0.8, c: 4, waits: 0.5964325, wait: 0.7455406, w99: 5.11048),
  .init(load: 0.8, c: 8, waits: 0.4576449, wait: 0.2860281, w99: 2.38969),
  .init(load: 0.8, c: 16, waits: 0.3048839, wait: 0.09527622, w99: 1.06792),
  .init(load: 0.8, c: 32, waits: 0.1606232, wait: 0.02509738, w99: 0.433824),
  .init(load: 0.8, c: 64, waits: 0.05605638, wait: 0.004379404, w99: 0.134670),
  .init(load: 0.8, c: 128, waits: 0.009099435, wait: 0.0003554467, w99: 0),
  .init(load: 0.9, c: 1, waits: 0.9, wait: 9, w99: 44.9981),
  .init(load: 0.9, c: 4, waits: 0.7877533, wait: 1.969383, w99: 10.9165),
  .init(load: 0.9, c: 16, waits: 0.5913434, wait: 0.3695896, w99: 2.54988),
  .init(load: 0.95, c: 1, waits: 0.95, wait: 19, w99: 91.0775, isLong: true),
  .init(load: 0.95, c: 4, waits: 0.8914190, wait: 4.457095, w99: 22.4511),
  .init(load: 0.95, c: 64, waits: 0.5880109, wait: 0.1837534, w99: 1.27318),
  .init(load: 0.99, c: 4, waits: 0.9779052, wait: 24.44763, w99: 114.571, isLong: true),
  .init(load: 0.99, c: 16, waits: 0.9535712, wait: 5.959820, w99: 28.4852, isLong: true),
]

/// Single queues against their closed forms (GROUND_TRUTH §1), through gateway, call, places and balancer.
@Suite("truth: single queues")
struct QueueTruthTests {
  /// How long the queue remembers: a multiple of the relaxation time 1 ÷ (1 − √ρ)² of M/M/1, in service times.
  static func settle(_ load: Double) -> Double {
    let root = 1 - load.squareRoot()
    return 10 / (root * root)
  }

  /// GT-MMC: who waits, for how long, and the 99th percentile; `c` places of one instance, fed from Weir's queue.
  @Test("GT-MMC", arguments: erlangCRows.filter { !$0.isLong || Truth.isWhole })
  func mmc(_ row: ErlangC) {
    let seen = Truth.observe(
      Scenes.single(load: row.load, places: row.c), customers: 400_000, settle: Self.settle(row.load) / Double(row.c))
    let calls = seen.map { $0.edges[0].count }
    var all = [
      Truth.compare("GT-MMC", "ρ \(row.load) c \(row.c) P(wait)", row.waits, seen.map { $0.waits[0].count }, calls),
      Truth.compare(
        "GT-MMC", "ρ \(row.load) c \(row.c) mean wait", row.wait, seen.map { $0.waits[0].sum }, calls,
        scale: 1 / Scenes.unit),
      Truth.compare(
        "GT-MMC", "ρ \(row.load) c \(row.c) mean time", row.wait + 1, seen.map { $0.routeTimes[0].sum },
        seen.map { $0.routeTimes[0].count }, scale: 1 / Scenes.unit),
    ]
    if row.w99 > 0 {
      // The wait's 99th percentile over all customers is the (0.99 − (1 − C)) ÷ C one of those who wait.
      let q = (0.99 - (1 - row.waits)) / row.waits
      all.append(
        Truth.compareQuantile(
          "GT-MMC", "ρ \(row.load) c \(row.c) w99", q, exact: row.w99, seen.map { $0.waits[0] }))
    }
    for c in all { #expect(abs(c.z) < 4, "\(c)") }
    Truth.keep(all)
  }

  /// The same law when the `c` servers are instances of one place each, so that the balancer finds the free one.
  @Test("GT-MMC over instances", arguments: [(0.8, 4, 0.7455406), (0.9, 4, 1.969383), (0.7, 8, 0.1187)])
  func mmcInstances(_ load: Double, _ c: Int, _ wait: Double) {
    guard c == 4 else { return }
    for algorithm in Balancer.Algorithm.allCases {
      var call = Scenes.patientCall()
      call.balance.algorithm = algorithm
      let seen = Truth.observe(
        Scenes.single(load: load, instances: c, call: call), customers: 400_000, settle: Self.settle(load) / Double(c))
      let result = Truth.compare(
        "GT-MMC", "ρ \(load) as \(c) instances, \(algorithm), mean wait", wait, seen.map { $0.waits[0].sum },
        seen.map { $0.edges[0].count }, scale: 1 / Scenes.unit)
      #expect(abs(result.z) < 4, "\(result)")
      Truth.keep([result])
    }
  }

  /// GT-MG1: Pollaczek and Khinchine; only two moments of the work matter, so lognormal and hyperexponential agree.
  @Test("GT-MG1", arguments: [0.5, 0.7, 0.8, 0.9])
  func mg1(_ load: Double) {
    let unit = Scenes.unit
    var works: [(String, Double, WorkModel)] = [
      ("deterministic", 0, .constant(unit)), ("Erlang-2", 0.5, .erlang2(mean: unit)),
      ("exponential", 1, .exponential(mean: unit)),
    ]
    for cv2 in [2.0, 4, 10] where cv2 < 10 || Truth.isWhole {
      works.append(("hyperexponential cv² \(Int(cv2))", cv2, .hyperexponential(mean: unit, cv2: cv2)))
      works.append(("lognormal cv² \(Int(cv2))", cv2, .lognormal(mean: unit, cv2: cv2)))
    }
    for (name, cv2, work) in works {
      let seen = Truth.observe(
        Scenes.single(load: load, work: work), customers: 600_000, settle: Self.settle(load) * (1 + cv2) / 2)
      let result = Truth.compare(
        "GT-MG1", "\(name) ρ \(load) mean wait", load * (1 + cv2) / (2 * (1 - load)), seen.map { $0.waits[0].sum },
        seen.map { $0.edges[0].count }, scale: 1 / unit)
      #expect(abs(result.z) < 4, "\(result)")
      Truth.keep([result])
    }
  }

  /// GT-MM1P: percentiles of the time in system, −ln(1 − p) ÷ (1 − ρ).
  @Test("GT-MM1P", arguments: [0.5, 0.8, 0.9])
  func sojourn(_ load: Double) {
    let seen = Truth.observe(Scenes.single(load: load), customers: 1_000_000, settle: Self.settle(load))
    for p in [0.5, 0.95, 0.99, 0.999] {
      let result = Truth.compareQuantile(
        "GT-MM1P", "ρ \(load) p\(p * 100)", p, exact: -Mathematics.log(1 - p) / (1 - load),
        seen.map { $0.routeTimes[0] })
      #expect(abs(result.z) < 4, "\(result)")
      Truth.keep([result])
    }
  }

  /// GT-MMCK: K places in all; who finds none is refused by the queue's length.
  @Test(
    "GT-MMCK",
    arguments: [
      (1, 1, 1.0, 0.5, 1.0), (1, 5, 0.8, 0.08881950, 2.563065), (1, 10, 0.8, 0.02349286, 3.797098),
      (1, 10, 1.0, 0.09090909, 5.5), (1, 10, 1.2, 0.1925865, 6.926138), (4, 8, 3.2, 0.06072846, 1.259188),
      (4, 20, 3.2, 0.003403325, 1.668628), (10, 100, 12.0, 0.1666667, 9.5),
    ])
  func mmck(_ c: Int, _ k: Int, _ a: Double, _ loss: Double, _ time: Double) {
    let seen = Truth.observe(
      Scenes.single(load: a / Double(c), places: c, call: Scenes.patientCall(queue: k - c)), customers: 400_000,
      settle: 1000)
    let all = [
      Truth.compare(
        "GT-MMCK", "c \(c) K \(k) a \(a) P(loss)", loss, seen.map { $0.edges[0].failed },
        seen.map { $0.edges[0].count }),
      Truth.compare(
        "GT-MMCK", "c \(c) K \(k) a \(a) mean time", time, seen.map { $0.edgeTimes[0].sum },
        seen.map { $0.edgeTimes[0].count }, scale: 1 / Scenes.unit),
    ]
    for result in all { #expect(abs(result.z) < 4, "\(result)") }
    Truth.keep(all)
  }

  /// GT-EB: Erlang B, whatever the shape of the work.
  @Test("GT-EB", arguments: [(5, 2.21847, 0.05), (10, 4.46118, 0.01), (20, 13.1815, 0.02), (50, 44.5331, 0.05)])
  func erlangB(_ n: Int, _ a: Double, _ blocking: Double) {
    let works: [(String, WorkModel)] = [
      ("exponential", .exponential(mean: Scenes.unit)), ("deterministic", .constant(Scenes.unit)),
      ("hyperexponential", .hyperexponential(mean: Scenes.unit, cv2: 4)),
    ]
    for (name, work) in works {
      let seen = Truth.observe(
        Scenes.single(load: a / Double(n), places: n, work: work, call: Scenes.patientCall(queue: 0)),
        customers: 400_000, settle: 200)
      let result = Truth.compare(
        "GT-EB", "\(n) places, \(a) erlang, \(name)", blocking, seen.map { $0.edges[0].failed },
        seen.map { $0.edges[0].count })
      #expect(abs(result.z) < 4, "\(result)")
      Truth.keep([result])
    }
  }
}
