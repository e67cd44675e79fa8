// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirStorage
import WeirWire

/// A topic feeds the endpoints of the file's webhooks, and no others: what nobody takes fills up until publishers are refused.
@Suite struct WebhookGroupsTests {
  private static func configuration(_ folder: String, _ webhooks: [WebhookSettings]) throws -> ProxyConfiguration {
    var routes = RouteTrie.Builder()
    try routes.add(path: "/**", route: 0)
    let plan = FlowPlan(
      services: [FlowPlan.Service(instances: 1)], edges: [FlowPlan.Edge(service: 0, call: CallSettings())],
      routes: [FlowPlan.Route(edge: 0)], limits: [])
    var configuration = ProxyConfiguration(
      plan: plan, listeners: [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()), name: "gateway")],
      addresses: [[.tcp(host: "127.0.0.1", port: 1)]])
    configuration.statePath = StateProcess.socketPath(folder)
    configuration.webhooks = webhooks
    configuration.logs = (["events", "others"] + webhooks.map(\.documents)).map { LogDeclaration(name: $0) }
    return configuration
  }

  private static func groups(_ log: String, _ server: ProxyServer) async -> [String]? {
    guard case .logCounts(let counts) = await server.ask(.lookLog(log: log), within: 5_000_000_000) else { return nil }
    return counts.groups.map(\.name)
  }

  private static func have(_ events: [String], _ others: [String], _ server: ProxyServer) async throws {
    try await eventually("the topics feed \(events) and \(others)") {
      let found = (await groups("events", server), await groups("others", server))
      return found.0 == events && found.1 == others
    }
  }

  @Test("a webhook that leaves the file or changes its topic leaves no group behind, nor an endpoint that is gone")
  func groups() async throws {
    try await withTaskExecutorPreference(OwnThreads()) {
      let kept = try SagaRunnerTests.Kept(dyingAt: 0, "never")
      defer { kept.end() }
      let same = PlanMove(services: [0], instances: [[0]], edges: [0], routes: [0], limits: [])
      let ofEvents = WebhookSettings(name: "partners", topic: "events")
      let ofOthers = WebhookSettings(name: "partners", topic: "others")
      let group = ofEvents.queue("acme")

      let first = try await ProxyServer.start(try Self.configuration(kept.folder, [ofEvents]))
      let secret = WebhookSubscription.makeSecret()
      let endpoint = WebhookSubscription(url: "https://127.0.0.1/", created: 0, secret: secret)
      try await eventually("the endpoint is kept") {
        let reply = await first.ask(
          .saveDocument(log: ofEvents.documents, key: Array("acme".utf8), body: endpoint.document, expected: nil),
          within: 5_000_000_000)
        guard case .saved = reply else { return false }
        return true
      }
      try await Self.have([group], [], first)
      try await first.reload(try Self.configuration(kept.folder, [ofOthers]), by: same)
      try await Self.have([], [group], first)
      try await first.reload(try Self.configuration(kept.folder, []), by: same)
      try await Self.have([], [], first)
      try await first.reload(try Self.configuration(kept.folder, [ofEvents]), by: same)
      try await Self.have([group], [], first)
      await first.stop()

      // The file has changed while nothing ran.
      let second = try await ProxyServer.start(try Self.configuration(kept.folder, []))
      try await Self.have([], [], second)
      // Whoever removed it ended before its group did.
      try await eventually("a group is left over") {
        await second.ask(.join(log: "events", ofEvents.declaration("gone")), within: 5_000_000_000) == .declared
      }
      await second.stop()
      let third = try await ProxyServer.start(try Self.configuration(kept.folder, [ofEvents]))
      try await Self.have([group], [], third)
      await third.stop()
    }
  }
}
