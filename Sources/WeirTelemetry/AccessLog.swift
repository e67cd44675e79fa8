// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows

/// What the driver knows of a request beside the flow's record: text, addresses, bytes.
package struct AccessFacts: Sendable, Equatable {
  package var method: String
  package var path: String
  package var host: String
  package var client: String
  package var traceId: String
  package var bytesIn: Int
  package var bytesOut: Int
  package var requestID = ""
  /// The identity that knows the caller, and the caller's tenant; empty for nobody.
  package var identity = ""
  package var tenant = ""
  /// What became of the request's key; empty without one.
  package var idempotency = ""

  package init(
    method: String, path: String, host: String, client: String, traceId: String, bytesIn: Int, bytesOut: Int
  ) {
    self.method = method
    self.path = path
    self.host = host
    self.client = client
    self.traceId = traceId
    self.bytesIn = bytesIn
    self.bytesOut = bytesOut
  }
}

/// The access log: one JSON object a request, the same words as in metrics and `Proxy-Status`.
package struct AccessLog: Sendable {
  private let names: Names

  package init(names: Names) { self.names = names }

  /// The line of one request, with its line feed.
  ///
  /// `at` is when it began.
  package func line(_ record: RequestRecord, _ facts: AccessFacts, at: WallTime) -> [UInt8] {
    var line = JSONLine()
    line.field("time", at.rfc3339)
    line.field("type", "request" as StaticString)
    // Of a head that could not be read there is neither.
    if !facts.method.isEmpty { line.field("method", facts.method) }
    if !facts.path.isEmpty { line.field("path", facts.path) }
    if !facts.host.isEmpty { line.field("host", facts.host) }
    line.field("status", Int(record.status))
    line.field("ms", milliseconds: record.duration)
    line.field("route", record.route == RequestFacts.none ? "none" : names.route(Int(record.route)))
    if record.edge != RequestFacts.none {
      let edge = names.edges[Int(record.edge)]
      line.field("service", edge.callee)
      if record.instance != CallStep.nobody {
        line.field("instance", names.instance(Int(record.instance), of: edge.service))
      }
      line.field("attempts", Int(record.attempts))
    }
    if record.reason != .none {
      line.field("reason", record.reason.name)
      line.field("side", record.reason.side.name)
      line.field("phase", record.phase.name)
    }
    if record.fallback { line.field("fallback", true) }
    line.field("client", facts.client)
    if !facts.identity.isEmpty { line.field("identity", facts.identity) }
    if !facts.tenant.isEmpty { line.field("tenant", facts.tenant) }
    if !facts.idempotency.isEmpty { line.field("idempotency", facts.idempotency) }
    if !facts.traceId.isEmpty { line.field("trace", facts.traceId) }
    if !facts.requestID.isEmpty { line.field("request-id", facts.requestID) }
    line.field("in", facts.bytesIn)
    line.field("out", facts.bytesOut)
    return line.finished()
  }

  /// Who was called, and how often it was tried.
  func place(_ way: AttemptFacts.Way, _ line: inout JSONLine) {
    guard way.edge >= 0, way.edge < names.edges.count else { return }
    let edge = names.edges[way.edge]
    line.field("service", edge.callee)
    if way.instance != CallStep.nobody {
      line.field("instance", names.instance(Int(way.instance), of: edge.service))
    }
    line.field("tries", way.tries)
  }

  /// The line of one event, with its line feed.
  package func line(_ event: Event, at: WallTime) -> [UInt8] {
    var line = JSONLine()
    line.field("time", at.rfc3339)
    line.field("type", "event" as StaticString)
    line.field("kind", event.kind.name)
    let place = EventText.place(event, names: names)
    if let caller = place.caller { line.field("caller", caller) }
    line.field("service", place.service)
    if let instance = place.instance { line.field("instance", instance) }
    if event.reason != .none { line.field("reason", event.reason.name) }
    if event.until > event.at { line.field("for-ms", milliseconds: event.until.since(event.at)) }
    return line.finished()
  }
}
