// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Calls that may ask some of a service's instances only, on real sockets.
@Suite("subsets") struct SubsetTests {
  private func setup(_ fallback: InstanceGroups.Fallback) -> Setup {
    var setup = Setup()
    setup.call.breaks = false
    setup.configure = { configuration in
      let groups = InstanceGroups(
        subsets: [[.init("version", "v2")]], labels: [[.init("version", "v1")], [.init("version", "v2")]])
      configuration.plan.edges[0].subset = FlowPlan.Subset(groups, group: 0, instances: 2, fallback: fallback)
    }
    return setup
  }

  @Test(
    "a request goes to its subset; without anybody there it is refused with a word of its own, or goes elsewhere",
    arguments: [InstanceGroups.Fallback.none, .any])
  func subsets(fallback: InstanceGroups.Fallback) async throws {
    let backends = try (1...2).map { name in try Backend(answering: { _, _, _ in Backend.ok("v\(name)") }) }
    try await withProxy(to: backends.map(\.port), setup(fallback)) { server, port in
      let wire = try Wire(port: port)
      for _ in 0..<20 { #expect(try wire.get().text == "v2") }
      await server.setUp(false, service: 0, instance: 1)
      try await eventually("v2 is gone") { try wire.get().text != "v2" }
      let answer = try wire.get()
      if fallback == .any {
        #expect(answer.text == "v1")
      } else {
        #expect(answer.status == 503 && answer.reason == "subset-empty")
        #expect(backends[0].count == 0)
      }
      await server.setUp(true, service: 0, instance: 1)
      try await eventually("it is back") { try wire.get().text == "v2" }
    }
  }
}
