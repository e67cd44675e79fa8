// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing
import WeirBase
import WeirFlows
import WeirTelemetry

/// A small system that has seen one of everything: what every format is tested with.
struct Sample {
  let names = Names(
    system: "sho\"p", routes: ["api"], edges: [Names.Edge(caller: "gateway", callee: "api", service: 0)],
    services: ["api"], zones: [Names.Zones(names: ["west", "east"], ofInstance: [0, 1], own: 1)])
  private(set) var snapshot: Snapshot

  init() {
    let plan = FlowPlan(
      services: [FlowPlan.Service(instances: 2)], edges: [FlowPlan.Edge(service: 0)],
      routes: [FlowPlan.Route(edge: 0)])
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    let facts = RequestFacts(route: 0)
    let request = flows.begin(request: facts, now: Instant(nanoseconds: 0)).slot
    let call = flows.begin(call: 0, facts: facts, now: Instant(nanoseconds: 0)).slot
    _ = flows.head(call, status: 200, now: Instant(nanoseconds: 3_000_000))
    _ = flows.ended(call, now: Instant(nanoseconds: 3_000_000))
    flows.end(
      request: request, as: RequestEnding(status: 200, instance: 1, attempts: 1), now: .init(nanoseconds: 3_000_000))
    flows.refused(
      RequestEnding(status: 404, reason: .noRoute, phase: .head), startedAt: .zero, now: Instant(nanoseconds: 1000))
    var events = [UInt64](repeating: 0, count: Event.Kind.allCases.count)
    events[Int(Event.Kind.breakerOpened.rawValue)] = 2
    snapshot = Snapshot(
      uptime: 12.5, loops: 1, ledger: flows.state.ledger,
      edges: [.init(breaker: .closed, breakers: [.open, .closed], ejected: [true, false], waiting: 3)],
      instances: [
        [
          .init(state: .ready, pid: 7, address: "127.0.0.1:1", restarts: 1, cpu: 0.25, memory: 1 << 20),
          .init(state: .down, address: "127.0.0.1:2"),
        ]
      ], events: events)
    snapshot.instances[0][1].inFlight = 4
  }
}

@Suite struct MetricsTests {
  // The exposition has every family once, escapes labels, and its histogram ends where its count is.
  @Test func exposition() {
    let sample = Sample()
    let text = Metrics.text(sample.snapshot, names: sample.names, version: "0")
    let lines = text.split(separator: "\n").map(String.init)
    #expect(lines.contains(#"weir_requests_total{route="api",class="2xx"} 1"#))
    #expect(lines.contains(#"weir_requests_total{route="none",class="4xx"} 1"#))
    #expect(lines.contains(#"weir_request_reasons_total{route="none",reason="no-route"} 1"#))
    #expect(lines.contains(#"weir_calls_total{caller="gateway",callee="api",outcome="answered"} 1"#))
    #expect(lines.contains(#"weir_breaker_state{caller="gateway",callee="api",instance="api-1"} 2"#))
    #expect(lines.contains(#"weir_instance_ejected{caller="gateway",callee="api",instance="api-1"} 1"#))
    #expect(lines.contains(#"weir_calls_waiting{caller="gateway",callee="api"} 3"#))
    #expect(lines.contains(#"weir_events_total{kind="breaker-opened"} 2"#))
    #expect(lines.contains(#"weir_build_info{version="0",system="sho\"p"} 1"#))
    #expect(lines.contains(#"weir_request_duration_seconds_bucket{route="api",le="0.002048"} 0"#))
    #expect(lines.contains(#"weir_request_duration_seconds_bucket{route="api",le="0.004096"} 1"#))
    #expect(lines.contains(#"weir_request_duration_seconds_count{route="api"} 1"#))
    // One request, at one of the two instances; each stands in a zone.
    let perInstance = [1, 2].map {
      lines.contains("weir_instance_requests_total{service=\"api\",instance=\"api-\($0)\"} 1")
    }
    #expect(perInstance.filter { $0 }.count == 1)
    #expect(lines.contains("weir_zone_requests_total{service=\"api\",zone=\"west\"} \(perInstance[0] ? 1 : 0)"))
    #expect(lines.contains("weir_zone_spilled_total{service=\"api\"} \(perInstance[0] ? 1 : 0)"))
    #expect(lines.contains(#"weir_instance_failures_total{service="api",instance="api-1"} 0"#))
    #expect(lines.contains(#"weir_instance_in_flight{service="api",instance="api-2"} 4"#))
    let types = lines.filter { $0.hasPrefix("# TYPE") }
    #expect(Set(types).count == types.count)
  }

  // Labels come from declared names only, so the number of series is known beforehand: `explain` prints it.
  @Test func seriesAreBounded() {
    let sample = Sample()
    let text = Metrics.text(sample.snapshot, names: sample.names, version: "0")
    let series = text.split(separator: "\n").count { !$0.hasPrefix("#") }
    #expect(series <= Metrics.seriesCount(routes: 1, edges: 1, instancesByEdge: [2], instances: 2, zones: 2))
  }

  // promtool is the judge of the format; CI installs it, and a developer without it is told.
  @Test func promtoolAgrees() throws {
    let sample = Sample()
    let text = Metrics.text(sample.snapshot, names: sample.names, version: "0")
    guard let judge = try TestProgram.reading(Array(text.utf8), "promtool", ["check", "metrics"]) else { return }
    #expect(judge.exit == 0, "\(judge.out)\(judge.err)")
  }
}

@Suite struct AccessLogTests {
  // A line is one JSON object with the words of the closed list; text from outside cannot break out of it.
  @Test func line() throws {
    let sample = Sample()
    let log = AccessLog(names: sample.names)
    let record = RequestRecord(
      startedAt: .zero, duration: 1_234_567, tag: 0, route: 0, edge: 0, status: 503, instance: 1,
      reason: .breakerOpen, phase: .queue, attempts: 2, fallback: false)
    let facts = AccessFacts(
      method: "GET", path: "/a\"\n\u{1}\u{e9}", host: "h", client: "127.0.0.1", traceId: "ab", bytesIn: 1, bytesOut: 2)
    let bytes = log.line(record, facts, at: WallTime(milliseconds: 0))
    #expect(bytes.last == 0x0a && bytes.count { $0 == 0x0a } == 1)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    #expect(object["path"] as? String == "/a\"\n\u{1}\u{e9}")
    #expect(object["reason"] as? String == "breaker-open")
    #expect(object["side"] as? String == "us")
    #expect(object["phase"] as? String == "queue")
    #expect(object["instance"] as? String == "api-2")
    #expect(object["ms"] as? Double == 1.234)
    #expect(object["attempts"] as? Int == 2)
  }

  /// An attempt says what it was of, by whom, and in which trace.
  @Test func attempt() throws {
    let log = AccessLog(names: Sample().names)
    var facts = AttemptFacts(
      work: .saga("order", step: 2, isUndo: true), message: "o-1", key: "order/o-1/2/undo", attempt: 3, count: 1,
      outcome: "unknown", status: 0, reason: .attemptTimeout, error: "", duration: 1_234_567)
    facts.traceId = "ab"
    facts.spanId = "cd"
    facts.way = .init(edge: 0, instance: 1, tries: 1)
    func object() throws -> [String: Any] {
      let bytes = log.line(facts, at: WallTime(milliseconds: 0))
      #expect(bytes.last == 0x0a && bytes.count { $0 == 0x0a } == 1)
      return try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }
    let saga = try object()
    #expect(saga["type"] as? String == "attempt" && saga["saga"] as? String == "order" && saga["step"] as? Int == 2)
    #expect(saga["undo"] as? Bool == true && saga["key"] as? String == "order/o-1/2/undo")
    #expect(saga["attempt"] as? Int == 3 && saga["tries"] as? Int == 1 && saga["instance"] as? String == "api-2")
    #expect(saga["reason"] as? String == "attempt-timeout" && saga["status"] == nil && saga["ms"] as? Double == 1.234)
    #expect(saga["trace"] as? String == "ab" && saga["span"] as? String == "cd")
    facts.work = .webhook("partners", topic: "events", endpoint: "e1")
    facts.way = nil
    facts.count = 3
    let webhook = try object()
    #expect(webhook["webhook"] as? String == "partners" && webhook["endpoint"] as? String == "e1")
    #expect(webhook["service"] == nil && webhook["messages"] as? Int == 3)
  }

  @Test func event() throws {
    let sample = Sample()
    let event = Event(
      .breakerOpened, at: .zero, edge: 0, instance: 0, until: Instant(nanoseconds: 30_000_000_000))
    #expect(EventText.text(event, names: sample.names) == "breaker-opened api-1 (from gateway), for 30.0 s")
    let bytes = AccessLog(names: sample.names).line(event, at: WallTime(milliseconds: 0))
    let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    #expect(object["kind"] as? String == "breaker-opened")
    #expect(object["instance"] as? String == "api-1")
  }
}

@Suite struct StatusTests {
  // What the admin API sends is what `weir status` reads, and its text carries the states.
  @Test func roundTrip() throws {
    let sample = Sample()
    let status = Status(
      sample.snapshot,
      before: (
        ledger: Ledger(
          plan: FlowPlan(
            services: [FlowPlan.Service(instances: 2)], edges: [FlowPlan.Edge(service: 0)],
            routes: [FlowPlan.Route(edge: 0)])), seconds: 2
      ), names: sample.names, version: "0",
      listeners: ["http://127.0.0.1:8080"], admin: "", draining: false,
      events: [.init(time: "t", text: "breaker-opened api-1", kind: "breaker-opened")])
    let decoded = try JSONDecoder().decode(Status.self, from: try JSONEncoder().encode(status))
    #expect(decoded == status)
    #expect(status.routes[0].perSecond == 0.5)
    #expect(status.calls[0].breakers[0].ejected)
    let text = status.text(colour: false)
    #expect(text.contains("ejected by gateway"))
    #expect(text.contains("breaker-opened api-1"))
    #expect(text.contains("no-route 1"))
    #expect(!text.contains("\u{1b}"))
    #expect(status.text(colour: true).contains("\u{1b}[31m"))
  }
}
