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

  /// A queue has an edge of its own, last of all: one attempt, within two thirds of a lease.
  @Test("queues, what is pushed and what is sent reach the plan")
  func queues() throws {
    let text = """
      weir: 1
      system: a
      defaults: { call: { timeout: 300ms, retry: 5, breaker: { rest: 4s } } }
      gateway: { listen: 0, routes: { all: { path: /**, to: shop } } }
      services:
        shop:
          run: shop $EMAILS_URL
          sends: [emails, reports]
          operations:
            POST /orders: { does: [mail, { do: emails, share: 50% }] }
            GET /orders: { does: [[mail, reports]] }
            PUT /orders: {}
          calls: { mail: {} }
        mail: { run: mail, instances: 3, at-once: 4, operations: { POST /send: {}, POST /later: {} } }
        plain: { run: plain, instances: 2, at-once: none }
      queues:
        emails:
          to: POST mail/later
          visibility: 9s
          retry: { attempts: 4, backoff: { first: 2s, max: 1m, jitter: 10% } }
          key: customer_id
          key-at-once: 2
          keep: 3d
          dedup: 1m
          length: 1k
          size: 1MiB
          rate: 20/s
          dead-letters: false
        reports: {}
        notes: { to: PUT plain/note, at-once: 7, timeout: 1s }
        others: { to: POST plain/x }
      """
    let design = try #require(read(text: text).design)
    let plan = Plan(design)
    #expect(
      plan.edges.map(\.name) == ["gateway→shop", "shop→mail", "emails→mail", "notes→plain", "others→plain"])
    #expect(plan.edges.map(\.caller) == [.gateway, .service(0), .queue(0), .queue(2), .queue(3)])
    #expect(plan.queues.map(\.name) == ["emails", "reports", "notes", "others"])
    let emails = plan.queues[0]
    #expect(emails.push == Plan.Queue.Push(edge: 2, service: 1, method: "POST", path: "/later", operation: 1))
    #expect(emails.keyField == "customer_id")
    #expect(emails.settings.visibility == .seconds(9))
    #expect(emails.settings.attempts == 4)
    #expect(emails.settings.backoff.first == .seconds(2))
    #expect(emails.settings.backoff.max == .seconds(60))
    #expect(emails.settings.backoff.jitter == 0.1)
    #expect(!emails.settings.keepsDead)
    #expect(emails.settings.keep == .seconds(3 * 86_400))
    #expect(emails.settings.dedup == .seconds(60))
    #expect(emails.settings.length == 1000)
    #expect(emails.settings.bytes == 1 << 20)
    // Three instances that work on four each.
    #expect(emails.settings.atOnce == 12)
    #expect(emails.settings.keyAtOnce == 2)
    #expect(emails.settings.rate == Rate(perSecond: 20))
    // The queue tries again, not the call; what `defaults` says of timeouts is for those who wait.
    let call = plan.flow.edges[2].call
    #expect(call.timeout == .seconds(6))
    #expect(call.attempt == .seconds(6))
    #expect(call.retry.attempts == 1)
    #expect(call.instanceBreaker.rest == .seconds(4))
    #expect(design.queues[0].call?.timeout.origin == .derived(from: "two thirds of visibility"))
    #expect(plan.flow.edges[3].call.timeout == .seconds(1))
    #expect(plan.queues[2].settings.atOnce == 7)
    #expect(plan.queues[3].settings.atOnce == 32)
    #expect(plan.queues[1].push == nil)
    #expect(plan.queues[1].settings.atOnce == Int(Int32.max))
    #expect(plan.needsState)
    #expect(plan.services[0].sends == [Plan.Send(to: .queue(0), share: 1), Plan.Send(to: .queue(1), share: 1)])
    let operations = plan.services[0].operations
    #expect(operations[0].sends == [Plan.Send(to: .queue(0), share: 0.5)])
    #expect(operations[1].sends == [Plan.Send(to: .queue(1), share: 1)])
    #expect(operations[2].sends == plan.services[0].sends)
    #expect(operations.map(\.steps.count) == [1, 1, 1])
    let environment = plan.environment(of: 0, weirURL: "http://w/from/shop", folder: "/f") { $0.raw }
    #expect(environment.first { $0.name == "EMAILS_URL" }?.value == "http://w/from/shop/queues/emails")
    #expect(environment.map(\.name) == ["WEIR_URL", "MAIL_URL", "EMAILS_URL", "REPORTS_URL"])
    #expect(design.unsupported(for: .simulate).map(\.path) == ["queues.reports"])
    #expect(design.unsupported(for: .run).isEmpty)
  }

  @Test("a subset is an edge of its own, with the instances that bear its labels")
  func subsets() throws {
    let text = """
      weir: 1
      system: a
      gateway:
        listen: 8080
        routes:
          split:
            path: /**
            to:
              - { service: x, weight: 9, subset: { version: v1 } }
              - { service: x, subset: { version: v2 }, subset-fallback: any }
          gold: { path: /gold, to: x, subset: { tier: gold, version: v1 } }
          same: { path: /same, to: [{ service: x, subset: { version: v1, tier: gold } }] }
          all: { path: /all, to: x, mirror: { to: x, subset: { version: v2 } } }
      services:
        x:
          at:
            - { at: 10.0.0.1:80, labels: { version: v1 } }
            - { at: 10.0.0.2:80, labels: { version: v1, tier: gold } }
            - { at: 10.0.0.3:80, labels: { version: v2 } }
        z: { run: z, calls: { x: { subset: { version: v2 } } } }
      """
    let plan = Plan(try #require(read(text: text).design))
    #expect(
      plan.edges.map(\.name) == [
        "gateway→x[version=v1]", "gateway→x[version=v2 or any]", "gateway→x[tier=gold,version=v1]", "gateway→x",
        "mirror of all→x[version=v2]", "z→x[version=v2]",
      ])
    #expect(
      plan.flow.edges.map(\.subset?.holds) == [
        [true, true, false], [false, false, true], [false, true, false], nil, [false, false, true],
        [false, false, true],
      ])
    #expect(plan.flow.edges.map { $0.subset?.fallback == .any } == [false, true, false, false, false, false])
    #expect(plan.flow.routes[0].split?.edges == [0, 1] && plan.flow.routes.map(\.edge) == [0, 2, 2, 3])
    #expect(plan.flow.routes[3].mirror?.edge == 4)
  }

  /// A job is a queue of its own: one run at a time, one that waits; what is sent to has an address.
  @Test("jobs reach the plan as queues, and what is sent to is known to programs")
  func jobs() throws {
    let text = """
      weir: 1
      system: a
      gateway: { listen: 0, routes: { all: { path: /**, to: shop } } }
      services:
        shop: { run: shop, instances: 2, sends: [events, log, order, mails], operations: { POST /tidy: {}, PUT /list: {} } }
      queues: { mails: {} }
      jobs:
        tidy: { every: 15m, do: POST shop/tidy, timeout: 30m }
        nightly: { every: "0 3 * * 1-5", do: PUT shop/list, retry: 1, missed: none }
      topics:
        events: { key: id, keep: 30d, to: { list: { do: PUT shop/list, batch: 50, visibility: 30s }, others: {} } }
      streams:
        log: { events: [Placed, Paid], key: id, projections: { list: PUT shop/list } }
      sagas:
        order: { steps: [ { do: POST shop/tidy, undo: PUT shop/list, timeout: 2s }, PUT shop/list ] }
      webhooks:
        partners: { of: events }
      """
    let design = try #require(read(text: text).design)
    let plan = Plan(design)
    #expect(
      plan.queues.map(\.name) == [
        "mails", "jobs.tidy", "jobs.nightly", "events.list", "events.others", "log.list", "sagas.order",
      ])
    #expect(plan.jobs.map(\.queue) == [1, 2])
    #expect(plan.jobs.map(\.name) == ["tidy", "nightly"])
    #expect(plan.jobs.map(\.settings.missed) == [.once, .none])
    #expect(plan.edges.map(\.caller) == [.gateway, .queue(1), .queue(2), .queue(3), .queue(5), .queue(6), .queue(6)])
    #expect(
      plan.edges.map(\.name) == [
        "gateway→shop", "jobs.tidy→shop", "jobs.nightly→shop", "events.list→shop", "log.list→shop",
        "sagas.order→shop", "sagas.order→shop",
      ])
    let tidy = plan.queues[1]
    #expect(tidy.push?.operation == 0)
    #expect(tidy.settings.atOnce == 1)
    #expect(tidy.settings.length == 2)
    #expect(tidy.settings.attempts == 3)
    #expect(tidy.settings.visibility > .seconds(45 * 60))
    #expect(plan.queues[2].settings.attempts == 1)
    #expect(plan.flow.edges[1].call.timeout == .seconds(1800))
    #expect(plan.flow.edges[1].call.attempt == .seconds(1800))
    #expect(plan.flow.edges[1].call.retry.attempts == 1)
    let environment = plan.environment(of: 0, weirURL: "http://w", folder: "/f") { $0.raw }
    #expect(
      environment.dropFirst().map(\.value) == [
        "http://w/topics/events", "http://w/streams/log", "http://w/sagas/order", "http://w/queues/mails",
      ])
    let events = design.topics[0]
    #expect(events.subscribers.map(\.name.text) == ["list", "others"])
    #expect(events.subscribers[0].call?.timeout.value == .seconds(20))
    #expect(events.subscribers[0].batch.value == 50)
    #expect(events.subscribers[0].to?.value.operation == 1)
    #expect(design.streams[0].projections[0].to?.value.operation == 1)
    #expect(design.sagas[0].steps[0].undo?.value.path == "/list")
    #expect(design.sagas[0].steps[1].undo == nil)
    #expect(design.webhooks[0].of.value == 0)
    #expect(design.webhooks[0].sign.value == .standard)
    #expect(design.services[0].operations.map(\.idempotent.value) == [false, true])
    #expect(
      design.unsupported(for: .run).map(\.path) == [])
  }

  /// A group is a queue that its log feeds: what is said of it holds for its messages, and the log's `keep` for their age.
  @Test("topics and streams reach the plan, and each group as a queue with an edge of its own")
  func logs() throws {
    let text = """
      weir: 1
      system: a
      gateway: { listen: 0, routes: { all: { path: /**, to: shop } } }
      services:
        shop: { run: shop, instances: 2, at-once: 4, operations: { PUT /list: {} } }
      topics:
        events:
          key: order_id
          keep: 30d
          size: 1GiB
          schema: event.json
          to:
            list: { do: PUT shop/list, batch: 50, visibility: 60s, retry: { attempts: 3 }, dead-letters: false }
            others: { batch: 10, at-once: 7 }
        plain: {}
      streams:
        log: { events: [Placed, Paid], key: id, projections: { list: PUT shop/list } }
      """
    let design = try #require(read(text: text).design)
    let plan = Plan(design)
    #expect(plan.needsState)
    var events = Plan.Log(name: "events", kind: .topic(0))
    events.keep = .seconds(30 * 86_400)
    events.bytes = 1 << 30
    events.keyField = "order_id"
    events.schema = "event.json"
    events.groups = [Plan.Group(name: "list", queue: 0), Plan.Group(name: "others", queue: 1)]
    var log = Plan.Log(name: "log", kind: .stream(0))
    log.keyField = "id"
    log.types = ["Placed", "Paid"]
    log.groups = [Plan.Group(name: "list", queue: 2, fromStart: true)]
    var plain = Plan.Log(name: "plain", kind: .topic(1))
    plain.keep = .seconds(7 * 86_400)
    #expect(plan.logs == [events, plain, log])
    #expect(plan.queues.map(\.log) == [0, 0, 2])
    let list = plan.queues[0]
    #expect(list.push == Plan.Queue.Push(edge: 1, service: 0, method: "PUT", path: "/list", operation: 0, batch: 50))
    #expect(plan.flow.edges[1].call.timeout == .seconds(40))
    #expect(plan.flow.edges[1].call.retry.attempts == 1)
    #expect(list.settings.visibility == .seconds(60))
    #expect(list.settings.attempts == 3)
    #expect(!list.settings.keepsDead)
    #expect(list.settings.keep == .seconds(30 * 86_400))
    #expect(list.settings.keyAtOnce == 1)
    // Two instances that work on four requests each, of 50 events.
    #expect(list.settings.atOnce == 400)
    #expect(plan.queues[1].push == nil)
    #expect(plan.queues[1].settings.atOnce == 7)
    // A projection misses nothing, however long it is away.
    #expect(plan.queues[2].settings.keep > .seconds(50 * 365 * 86_400))
    #expect(plan.queues[2].push?.batch == 1)
  }

  @Test("NATS keeps no events yet: refused with its line")
  func engine() throws {
    let text = """
      weir: 1
      system: a
      gateway: { listen: 0, routes: { all: { path: /**, to: shop } } }
      services: { shop: { run: shop } }
      topics:
        events: { engine: nats }
        own: { engine: sqlite }
      """
    let design = try #require(read(text: text).design)
    #expect(design.unsupported(for: .run).map(\.path) == ["topics.events.engine"])
  }

  @Test("a saga has a script, an edge for each service and timeout of its steps, and a queue of its own")
  func sagas() throws {
    let text = """
      weir: 1
      system: a
      gateway: { listen: 0, routes: { all: { path: /**, to: ship } } }
      services: { pay: { run: pay, at-once: 4, instances: 3 }, ship: { run: ship, at-once: 5, instances: 2 } }
      sagas:
        order:
          timeout: 10m
          steps:
            - { do: POST pay/charge, undo: POST pay/refund, timeout: 2s }
            - { do: PUT ship/send, timeout: 2s }
            - { do: POST pay/charge, timeout: 7s }
      """
    let design = try #require(read(text: text).design)
    let plan = Plan(design)
    #expect(design.unsupported(for: .run).isEmpty)
    #expect(plan.needsState)
    let saga = plan.sagas[0]
    #expect(saga.name == "order" && plan.queues[saga.queue].name == "sagas.order")
    #expect(
      saga.script.lists == [
        [.init(act: "POST pay/charge", undo: "POST pay/refund")], [.init(act: "PUT ship/send", undo: nil)],
        [.init(act: "POST pay/charge", undo: nil)],
      ])
    #expect(saga.settings.within == .seconds(600))
    #expect(saga.calls.map(\.target) == ["POST pay/charge", "POST pay/refund", "PUT ship/send"])
    // A target of several steps has the longest of their timeouts.
    #expect(saga.calls.map { plan.flow.edges[$0.edge].call.attempt } == [.seconds(7), .seconds(2), .seconds(2)])
    #expect(saga.calls.allSatisfy { plan.flow.edges[$0.edge].call.retry.attempts == 1 })
    #expect(plan.placesForSagas(0) == 12 && plan.placesForSagas(1) == 10)
    #expect(plan.queues[saga.queue].push == nil && plan.queues[saga.queue].settings.attempts == .max)
  }

  @Test("a saga of more steps than a journal numbers is a mistake")
  func longSaga() {
    func file(_ count: Int) -> String {
      let steps = Array(repeating: "POST a/b", count: count).joined(separator: ", ")
      return "weir: 1\nsystem: a\nservices: { a: { run: a } }\nsagas: { s: { steps: [\(steps)] } }"
    }
    #expect(read(text: file(64)).diagnostics.isEmpty)
    let found = read(text: file(65)).diagnostics
    #expect(found.map(\.message) == ["a saga has at most 64 steps, and 's' has 65"])
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
