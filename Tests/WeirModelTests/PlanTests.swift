// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns

@Suite("plan")
struct PlanTests {
  private func plan() throws -> Plan { Plan(try #require(read("examples/webapp/weir.yaml").design)) }

  @Test("ids stand in the order of the file, and name what they are")
  func ids() throws {
    let plan = try plan()
    #expect(plan.services.map(\.name) == ["web", "api", "search", "notes-db"])
    #expect(plan.edges.map(\.name) == ["gateway→api", "gateway→web", "api→notes-db", "api→search", "search→notes-db"])
    #expect(plan.edges.map(\.isModelOnly) == [false, false, true, false, true])
    #expect(plan.routes == ["api", "web"])
    #expect(plan.limits == ["routes.api by client bucket"])
    #expect(plan.flow.routes.map(\.edge) == [0, 1])
    #expect(plan.flow.edges.map(\.service) == [1, 0, 3, 2, 3])
    #expect(try self.plan() == plan)
  }

  @Test("settings reach the flows")
  func settings() throws {
    let plan = try plan()
    let search = plan.flow.edges[3].call
    #expect(search.timeout == .milliseconds(200))
    #expect(search.optional && search.hasFallback)
    #expect(search.instanceBreaker.slow == .milliseconds(100))
    #expect(plan.flow.edges[2].call.retry.attempts == 1)
    #expect(!plan.flow.edges[2].call.breaks)
    #expect(plan.flow.services[1].atOnce == 16)
    #expect(plan.flow.services[1].hasHealthCheck && !plan.flow.services[1].startsReady)
    #expect(plan.flow.services[3].startsReady)
    #expect(plan.flow.limits[0].rate == Rate(perSecond: 500))
    #expect(plan.gateway?.listeners.map(\.port) == [8080])
    #expect(plan.gateway?.trie.match(host: "", path: "/api/notes", method: .get) == .route(0))
    #expect(plan.gateway?.trie.match(host: "", path: "/", method: .get) == .route(1))
  }

  @Test("what tells instances apart reaches the flows")
  func members() throws {
    let text = """
      weir: 1
      system: a
      services:
        x:
          balance: { by: maglev, key: header:X-User, zone: west, slow-start: 0s }
          sticky: cookie
          at:
            - 10.0.0.1:80
            - { at: 10.0.0.2:80, weight: 3, zone: east }
            - { at: 10.0.0.3:80, zone: west, backup: true }
        y: { at: 10.0.0.1:80, balance: round-robin }
        z: { run: z, instances: 2, balance: random, calls: { x: {} } }
      """
    let plan = Plan(try #require(read(text: text).design))
    let members = plan.flow.services[0].members
    #expect(members.weights == [1, 3, 1] && members.backups == [false, false, true] && members.isSticky)
    #expect(members.zones == [2, 0, 1] && members.zone == 1 && Set(members.identities).count == 3)
    #expect(plan.design.services[0].balancing.readsKey == .header("x-user"))
    #expect(plan.flow.edges[0].call.balance.affinity == .maglev && plan.flow.edges[0].call.balance.slowStart == .zero)
    let plain = plan.flow.services[1].members
    #expect(plain.weights.isEmpty && plain.zones.isEmpty && plain.backups.isEmpty && !plain.isSticky)
    #expect(plan.flow.services[2].members == Members())
  }

  @Test("the room of a gateway reaches the flows", arguments: [("", 16_384), ("at-once: 12, ", 12)])
  func room(written: String, room: Int) throws {
    let text = """
      weir: 1
      system: a
      gateway: { \(written)listen: 0, routes: { all: { path: /**, to: x } } }
      services: { x: { run: x } }
      """
    #expect(Plan(try #require(read(text: text).design)).flow.requestsAtOnce == room)
  }

  @Test("traffic knows its route, service and operation")
  func loads() throws {
    let plan = try plan()
    #expect(plan.loads.map(\.route) == [0, 0, 0])
    #expect(plan.loads.map(\.service) == [1, 1, 1])
    #expect(plan.loads.map(\.operations) == [[0], [2], [1]])
    #expect(plan.loads.map(\.method) == [.safe, .safe, .unsafe])
  }

  @Test("a program gets a variable for each thing that it may use, and no others")
  func environment() throws {
    let plan = try plan()
    let variables = plan.environment(of: 1, weirURL: "http://127.0.0.1:9/from/api", folder: "/srv/app") { $0.raw }
    #expect(variables.map(\.name) == ["WEIR_URL", "NOTES_DB_URL", "SEARCH_URL"])
    #expect(
      variables.map(\.value) == [
        "http://127.0.0.1:9/from/api", "sqlite:///srv/app/data/notes.db", "http://127.0.0.1:9/from/api/call/search",
      ])
    #expect(plan.environment(of: 0, weirURL: "u", folder: "/") { $0.raw }.map(\.name) == ["WEIR_URL"])
  }

  /// What others need is started first; an optional callee holds nobody up; a circle starts with the first of the file.
  @Test("programs start behind what they need")
  func startOrder() throws {
    let design = try #require(
      read(
        text: """
          weir: 1
          system: a
          services:
            a: { run: a, calls: { b: {}, d: { optional: true } } }
            b: { run: { command: b, after: [c] } }
            c: { run: c, calls: { a: {} } }
            d: { run: d }
          """
      ).design)
    let plan = Plan(design)
    #expect(plan.startOrder == [2, 1, 0, 3])
    #expect(plan.services.map(\.startsAfter) == [[1], [2], [], []])
  }

  /// A breaker's window is of one kind: the nearest map that names one says of which.
  @Test(
    "the nearest window wins",
    arguments: [
      ("{ rest: 4s }", CircuitBreaker.Settings.Window.ewma(halfLife: .seconds(3))),
      ("{ within: 5s }", .time(.seconds(5))), ("{ of-last: 100 }", .calls(100)),
      ("{ half-life: 7s }", .ewma(halfLife: .seconds(7))),
    ])
  func windows(breaker: String, window: CircuitBreaker.Settings.Window) throws {
    let text = """
      weir: 1
      system: a
      defaults: { call: { breaker: { half-life: 3s } } }
      gateway: { listen: 0, routes: { all: { path: /**, to: x } } }
      services:
        x: { run: x, calls: { y: { breaker: \(breaker) } } }
        y: { run: y }
      """
    let plan = Plan(try #require(read(text: text).design))
    let edge = try #require(plan.flow.edges.first { plan.services[$0.service].name == "y" })
    #expect(edge.call.instanceBreaker.window == window)
  }
}
