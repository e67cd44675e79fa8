// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Instances that somebody else runs, on real sockets: they come late, and their hosts move.
@Suite("elsewhere") struct ElsewhereTests {
  /// It answers 503 for longer than any start may take, and serves when it is ready.
  @Test("an instance elsewhere that is ready only after the time for a start is asked on, and serves")
  func late() async throws {
    let isWell = Atomic<Bool>(false)
    let probes = Atomic<Int>(0)
    let backend = try Backend(answering: { head, _, _ in
      guard head.hasPrefix("GET /readyz") else { return Backend.ok("late") }
      probes.add(1, ordering: .relaxed)
      return isWell.load(ordering: .relaxed) ? Backend.ok() : Backend.status(503)
    })
    var setup = Setup()
    setup.configure = {
      $0.plan.services[0].startsReady = false
      $0.plan.services[0].hasHealthCheck = true
      var settings = HealthMonitor.Settings()
      settings.startWithin = .milliseconds(100)
      settings.every = .milliseconds(200)
      settings.timeout = .seconds(100)
      settings.isOurs = false
      $0.health = [ProxyConfiguration.HealthCheck(ready: "/readyz", settings: settings)]
    }
    try await withProxy(to: [backend.port], setup) { _, port in
      let wire = try Wire(port: port)
      #expect(try wire.get().reason == "no-healthy-instance")
      // Probes at 0, 50, 150 ms and so on: with the sixth the start is long over.
      try await eventually("it is asked on") { probes.load(ordering: .relaxed) >= 6 }
      #expect(try wire.get().status == 503)
      isWell.store(true, ordering: .relaxed)
      try await eventually("it serves") { try wire.get().text == "late" }
    }
  }

  @Test("a host that moves takes its instance along; what is known of the old one is forgotten", arguments: [1, 2])
  func moves(loops: Int) async throws {
    let old = try Backend(answering: { _, _, _ in Backend.status(500) })
    let new = try Backend(answering: { _, _, _ in Backend.ok("new") })
    var setup = Setup()
    setup.loops = loops
    setup.call.retry.attempts = 1
    try await withProxy(to: [old.port], setup) { server, port in
      let wire = try Wire(port: port)
      #expect(await server.address(service: 0, instance: 0) == "127.0.0.1:\(old.port)")
      try await eventually("its breaker opens") { try wire.get().reason == "breaker-open" }
      let asked = old.count
      await server.moved(
        service: 0, instance: 0, to: .known(host: "api.internal", address: "127.0.0.1", port: new.port), isAsked: false)
      #expect(await server.address(service: 0, instance: 0) == "127.0.0.1:\(new.port)")
      try await eventually("the new one answers") { try wire.get().text == "new" }
      #expect(old.count == asked)
    }
  }
}
