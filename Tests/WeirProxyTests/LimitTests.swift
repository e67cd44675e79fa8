// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Limits by what a request carries, several of a route, and places by importance, on real sockets (RP-6, RP-8).
@Suite struct LimitTests {
  static func setup(_ limits: [FlowPlan.Limit], _ keys: [ProxyConfiguration.LimitKey?]) -> Setup {
    var setup = Setup()
    setup.limits = limits
    setup.route.limits = Array(limits.indices)
    setup.configure = { $0.limitKeys = keys }
    return setup
  }

  static func limit(_ burst: Int, _ by: FlowPlan.Limit.By, _ kind: FlowPlan.Limit.Kind = .bucket) -> FlowPlan.Limit {
    var limit = FlowPlan.Limit(rate: Rate(perSecond: 0.01), burst: burst, by: by)
    limit.kind = kind
    return limit
  }

  @Test("each value of a field has its own; without it the client counts", arguments: [true, false])
  func field(_ isCookie: Bool) async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let key = isCookie ? ProxyConfiguration.LimitKey.cookie(Array("who".utf8)) : .named("X-Key")
    let setup = Self.setup([Self.limit(2, .field)], [key])
    func carry(_ who: String) -> String { isCookie ? "Cookie: a=b; who=\(who)\r\n" : "x-key: \(who)\r\n" }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      for who in ["ann", "bob"] {
        for _ in 0..<2 { #expect(try client.get("/", carry(who)).status == 200) }
        #expect(try client.get("/", carry(who)).status == 429)
      }
      // The client itself, and whoever sends the field twice: nobody chooses which one counts.
      #expect(try client.get().status == 200)
      #expect(try client.get("/", carry("eve") + carry("joe")).status == 200)
      #expect(try client.get("/", carry("joe") + carry("eve")).status == 429)
    }
  }

  @Test("of several limits each counts, and the one that is nearest to its end is told")
  func several() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let setup = Self.setup([Self.limit(100, .route), Self.limit(2, .client, .window)], [])
    try await withProxy(to: [backend.port], setup) { server, port in
      let client = try Wire(port: port)
      #expect(try client.get()["ratelimit-policy"] == "\"default\";q=2;w=200")
      #expect(try client.get()["ratelimit"]?.hasPrefix("\"default\";r=0;t=") == true)
      let refused = try client.get()
      #expect(refused.status == 429 && (refused["retry-after"].flatMap(Int.init) ?? 0) > 90)
      #expect(backend.count == 2)
      #expect(await server.reports()[0].ledger.routeReason(0, .limitReached) == 1)
    }
  }

  /// RP-8 on sockets: a service that works on four at a time and queues the rest; sixty clients want it.
  @Test("an adaptive limit comes down to what the service does, and the low is shed first")
  func adaptive() async throws {
    let places = Workers(4)
    let backend = try Backend(answering: { _, _, _ in
      places.enter()
      HedgingTests.pause(20)
      places.leave()
      return Backend.ok()
    })
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.call.queue.wait = .milliseconds(500)
    setup.call.timeout = .seconds(20)
    setup.configure = { configuration in
      configuration.plan.services[0].adaptive = .init()
      configuration.plan.services[0].adaptive?.samplesMin = 40
      configuration.plan.services[0].adaptive?.start = 16
      configuration.plan.routes.append(FlowPlan.Route(edge: 0))
      configuration.plan.routes[0].priority = .critical
      configuration.plan.routes[1].priority = .low
      var routes = RouteTrie.Builder()
      // Paths that are known to be good.
      try? routes.add(path: "/critical", route: 0)
      try? routes.add(path: "/low", route: 1)
      configuration.listeners = [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()))]
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let isOver = Atomic<Bool>(false)
      let shed = Atomic<Int>(0)
      let criticalRefused = Atomic<Int>(0)
      let criticalServed = Atomic<Int>(0)
      async let load: Void = onThreads(44) { index in
        let client = try Wire(port: port)
        let path = index < 4 ? "/critical" : "/low"
        while !isOver.load(ordering: .relaxed) {
          let answer = try client.get(path)
          if answer.reason == "shed" { shed.add(1, ordering: .relaxed) }
          // Who is refused comes again a little later.
          if answer.status != 200 { HedgingTests.pause(5) }
          if index < 4 {
            (answer.status == 200 ? criticalServed : criticalRefused).add(1, ordering: .relaxed)
          }
        }
      }
      try await eventually("the limit is found, and low requests are shed") {
        let limit = await server.reports()[0].gateLimits[0] ?? 64
        return limit <= 12 && shed.load(ordering: .relaxed) > 50 && criticalServed.load(ordering: .relaxed) > 50
      }
      isOver.store(true, ordering: .relaxed)
      try await load
      let refused = criticalRefused.load(ordering: .relaxed)
      let served = criticalServed.load(ordering: .relaxed)
      #expect(Double(refused) < 0.05 * Double(served), "\(refused) of \(served) critical ones were refused")
    }
  }
}

/// So many at the same time, the others wait: a service's own queue.
final class Workers: Sendable {
  private let free: Mutex<Int>
  init(_ places: Int) { free = Mutex(places) }
  func enter() {
    while true {
      let mine = free.withLock { free in
        if free == 0 { return false }
        free -= 1
        return true
      }
      if mine { return }
      HedgingTests.pause(1)
    }
  }
  func leave() { free.withLock { $0 += 1 } }
}
