// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Two attempts of one request on real sockets: the first head wins, and the other connection is closed (RP-7).
@Suite struct HedgingTests {
  static let get = "GET / HTTP/1.1\r\nHost: test.example\r\n\r\n"

  /// How long every answer takes: noise of a busy machine does not make twice of it, which would be "slow for all".
  static let usual: Int64 = 5

  static func setup() -> Setup {
    var setup = Setup()
    var hedge = HedgeTrigger.Settings()
    hedge.samplesMin = 20
    hedge.delay = .milliseconds(150)
    setup.call.hedge = hedge
    return setup
  }

  static func pause(_ milliseconds: Int64) {
    var none: [Poll.Interest] = []
    _ = try? Poll.wait(&none, nanoseconds: milliseconds * 1_000_000)
  }

  /// One instance stops answering: whoever is sent there has his answer from the other one.
  @Test("the other instance answers, and the loser's connection is closed", arguments: [1, 4])
  func loser(_ loops: Int) async throws {
    let hangs = Atomic<Bool>(false)
    let cut = Atomic<Int>(0)
    let slow = try Backend { wire, backend in
      while let _ = try wire.head() {
        backend.requests.add(1, ordering: .relaxed)
        if hangs.load(ordering: .relaxed) {
          // The end of the connection is what is waited for.
          if try wire.ends() { cut.add(1, ordering: .relaxed) }
          return
        }
        Self.pause(Self.usual)
        try wire.send(Backend.ok("slow"))
      }
    }
    let quick = try Backend(answering: { _, _, _ in
      Self.pause(Self.usual)
      return Backend.ok("quick")
    })
    var setup = Self.setup()
    setup.loops = loops
    // In turns: one loop's peak-EWMA rightly asks an instance that hung once no more for seconds, and nothing is hedged.
    setup.call.balance.algorithm = .roundRobin
    try await withProxy(to: [slow.port, quick.port], setup) { server, port in
      let clients = try (0..<8).map { _ in try Wire(port: port) }
      for _ in 0..<30 { for client in clients { #expect(try client.ask(Self.get).status == 200) } }
      hangs.store(true, ordering: .relaxed)
      var answers = 0
      try await eventually("hedges win") {
        for client in clients { if try client.ask(Self.get).text == "quick" { answers += 1 } }
        return await server.reports().reduce(0) { $0 + Int($1.ledger.edges[0].hedgesWon) } >= 3
      }
      #expect(answers > 0)
      try await eventually("the losers are closed") { cut.load(ordering: .relaxed) >= 3 }
      // Nobody was told of a failure, and the slow instance is not blamed.
      let ledgers = await server.reports().map(\.ledger)
      #expect(ledgers.allSatisfy { $0.edges[0].failed == 0 && $0.edges[0].refused == 0 })
      #expect(server.withNode { $0.breakerPhase(edge: 0, instance: 0) } == .closed)
    }
  }

  /// A body that is kept is sent to both, whole; one that must not be repeated to one only.
  @Test("a replayable body reaches both, a POST without a key one")
  func bodies() async throws {
    let hangs = Atomic<Bool>(false)
    let bodies = Mutex<[String]>([])
    let answer: @Sendable (Wire, Backend) throws -> Void = { wire, backend in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        if head.hasPrefix("P") { bodies.withLock { $0.append(String(decoding: body, as: UTF8.self)) } }
        let hangs = hangs.load(ordering: .relaxed) && backend.requests.add(1, ordering: .relaxed).newValue > 0
        Self.pause(hangs ? 600 : Self.usual)
        try wire.send(Backend.ok("ok"))
      }
    }
    let backends = try (0..<2).map { _ in try Backend(answer) }
    var setup = Self.setup()
    // The noise of a busy machine may be hedged: what it takes must leave something.
    setup.call.hedge?.share = 0.5
    setup.call.budget.share = 1
    try await withProxy(to: backends.map(\.port), setup) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<100 { #expect(try client.ask(Self.get).status == 200) }
      // On a busy machine one of these may have been hedged, too.
      let before = await server.reports()[0].ledger.edges[0].hedges
      hangs.store(true, ordering: .relaxed)
      let put = "PUT / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello"
      #expect(try client.ask(put).status == 200)
      #expect(bodies.withLock { $0 } == ["hello", "hello"])
      let post = "POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nworld"
      #expect(try client.ask(post).status == 200)
      #expect(bodies.withLock { $0 } == ["hello", "hello", "world"])
      #expect(await server.reports()[0].ledger.edges[0].hedges == before + 1)
      // The client's connection goes on as ever.
      hangs.store(false, ordering: .relaxed)
      #expect(try client.ask(Self.get).status == 200)
    }
  }

  /// RP-7 on sockets: one answer of eighty takes ten times as long.
  ///
  /// A tenth of a second as usual, which a busy machine's noise is small beside.
  @Test("the slow hundredth: the 99th percentile falls by 40 % or more for at most 5 % of load")
  func tail() async throws {
    func run(hedged: Bool) async throws -> (p99: Double, load: Double) {
      let count = Atomic<Int>(0)
      let backends = try (0..<4).map { _ in
        try Backend(answering: { _, _, _ in
          // Every eightieth, so that the 99th percentile lies among them.
          let isSlow = count.add(1, ordering: .relaxed).newValue % 80 == 0
          Self.pause(isSlow ? 1000 : 100)
          return Backend.ok()
        })
      }
      var setup = Setup()
      if hedged {
        var hedge = HedgeTrigger.Settings()
        // A tenth of a second that never varies: any wait above it is noise, the 95th percentile is not 5 % of load.
        hedge.spreadMax = 20
        setup.call.hedge = hedge
      }
      let times = Mutex<[Double]>([])
      var result = (p99: 0.0, load: 0.0)
      try await withTaskExecutorPreference(OwnThreads()) {
        try await withProxy(to: backends.map(\.port), setup) { server, port in
          try await onThreads(16) { _ in
            let client = try Wire(port: port)
            let clock = ContinuousClock()
            var own: [Double] = []
            for i in 0..<75 {
              let began = clock.now
              guard try client.ask(Self.get).status == 200 else { throw Wire.Ended() }
              let took = clock.now - began
              // The first calls are what the trigger learns from.
              if i >= 25 {
                own.append(Double(took.components.attoseconds) / 1e15 + Double(took.components.seconds) * 1000)
              }
            }
            times.withLock { $0 += own }
          }
          let edge = await server.reports()[0].ledger.edges[0]
          times.withLock { $0.append(-Double(edge.attempts) / Double(edge.calls)) }
        }
      }
      var all = times.withLock { $0 }
      result.load = -all.removeLast()
      all.sort()
      result.p99 = all[Int(Double(all.count) * 0.99)]
      return result
    }
    let plain = try await run(hedged: false)
    let hedged = try await run(hedged: true)
    print("hedging on sockets: p99 \(plain.p99) ms becomes \(hedged.p99) ms, \(hedged.load) attempts a call")
    #expect(plain.p99 > 900)
    #expect(hedged.p99 <= 0.6 * plain.p99)
    #expect(hedged.load <= 1.0505)
  }
}
