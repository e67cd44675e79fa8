// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// Tables for a terminal; colour only when asked for.
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    var out = "\(paint.bold(system))  up \(Status.length(uptime))  \(loops) loop\(loops == 1 ? "" : "s")"
    out += "  \(listeners.joined(separator: " "))" + (draining ? "  \(paint.yellow("draining"))" : "") + "\n"
    out += processes(paint)
    out += Status.table(
      ["route", "requests", "per s", "5xx", "p50 ms", "p99 ms", "own answers"],
      routes.map { route in
        [
          route.name, "\(route.requests)", Status.number(route.perSecond), "\(route.failed)",
          Status.number(route.p50), Status.number(route.p99), Status.list(route.reasons),
        ]
      }, paint)
    out += Status.table(
      [
        "instance", "state", "rotation", "requests", "failed", "in flight", "pid", "address", "restarts", "cpu",
        "memory",
      ],
      services.flatMap { service in
        service.instances.map { instance in
          [
            instance.name, paint.state(instance.state), rotation(of: instance, paint),
            instance.requests.map { "\($0)" } ?? "", instance.failures.map { "\($0)" } ?? "",
            instance.inFlight.map { "\($0)" } ?? "",
            instance.pid.map { "\($0)" } ?? "", instance.address, "\(instance.restarts)",
            instance.cpu.map { "\(Int(($0 * 100).rounded())) %" } ?? "",
            instance.memory.map { "\($0 >> 20) MiB" } ?? "",
          ]
        }
      }, paint)
    out += Status.table(
      ["zone of", "zone", "requests", "share"],
      services.flatMap { service in
        let all = (service.zones ?? []).reduce(0) { $0 + $1.requests }
        return (service.zones ?? []).map { zone in
          [
            service.name, zone.name + (zone.own ? " (own)" : ""), "\(zone.requests)",
            all == 0 ? "–" : "\(Status.number(Double(zone.requests) * 100 / Double(all))) %",
          ]
        }
      }, paint)
    out += Status.table(
      [
        "call", "calls", "per s", "attempts", "failed", "refused", "fallback", "p99 ms", "waiting", "breaker",
        "reasons",
      ],
      calls.map { call in
        [
          "\(call.caller) → \(call.callee)", "\(call.calls)", Status.number(call.perSecond), "\(call.attempts)",
          "\(call.failed)", "\(call.refused)", "\(call.fallbacks)", Status.number(call.p99), "\(call.waiting)",
          paint.breaker(call.breaker), Status.list(call.reasons),
        ]
      }, paint)
    out += (queues ?? []).text(colour: colour)
    out += (sagas ?? []).text(colour: colour)
    out += (logs ?? []).text(colour: colour)
    if let webhooks, !webhooks.isEmpty { out += "\n" + webhooks.text }
    out += (outboxes ?? []).text(colour: colour)
    let mirrors = self.mirrors ?? []
    out += Status.table(
      [
        "mirror of", "same", "other status", "other body", "unanswered", "skipped", "p50 ms", "mirror's", "p99 ms",
        "mirror's",
      ],
      mirrors.map { mirror in
        [
          mirror.route, "\(mirror.same)", "\(mirror.otherStatus)", "\(mirror.otherBody)", "\(mirror.unanswered)",
          "\(mirror.skipped)", Status.number(mirror.givenP50), Status.number(mirror.mirroredP50),
          Status.number(mirror.givenP99), Status.number(mirror.mirroredP99),
        ]
      }, paint)
    for example in mirrors.flatMap(\.examples) {
      out += "  \(example.difference): \(example.request): \(example.given) for \(example.mirrored)\n"
    }
    if !events.isEmpty {
      out += "\n\(paint.dim("events"))\n"
      for event in events { out += "  \(event.time)  \(event.text)\n" }
    }
    return out
  }

  /// Weir's own processes.
  private func processes(_ paint: Paint) -> String {
    var parts: [String] = []
    if let plane {
      var text = "weir \(version), plane \(plane.pid), up \(Status.length(plane.uptime))"
      for elder in elders ?? [] { text += "; \(paint.yellow("draining")) \(elder.version), \(elder.pid)" }
      parts.append(text)
    }
    if let state {
      let time = state.up ? "up \(Status.length(state.uptime ?? 0))" : paint.red("down")
      var text = "state \(time), \(state.restarts) restart\(state.restarts == 1 ? "" : "s")"
      if let backup = state.backup {
        text += ", " + (backup.trouble == nil ? backup.text : paint.red(backup.text))
      }
      parts.append(text)
    }
    return parts.map { "  \($0)\n" }.joined()
  }

  /// In or out of rotation, by any caller's breaker.
  private func rotation(of instance: Instance, _ paint: Paint) -> String {
    var words: [String] = []
    for call in calls {
      for breaker in call.breakers where breaker.instance == instance.name {
        if breaker.ejected { words.append(paint.red("ejected by \(call.caller)")) }
        if breaker.state != .closed { words.append("\(call.caller): \(paint.breaker(breaker.state))") }
      }
    }
    return words.isEmpty ? (instance.state == .ready ? "in" : "out") : words.joined(separator: ", ")
  }

  static func table(_ head: [String], _ rows: [[String]], _ paint: Paint) -> String {
    if rows.isEmpty { return "" }
    var widths = head.map(\.count)
    for row in rows { for (i, cell) in row.enumerated() { widths[i] = max(widths[i], Paint.width(cell)) } }
    func line(_ cells: [String]) -> String {
      var text = " "
      for (i, cell) in cells.enumerated() {
        text += " " + cell
        if i < cells.count - 1 { text += String(repeating: " ", count: widths[i] - Paint.width(cell) + 1) }
      }
      return text + "\n"
    }
    return "\n" + paint.dim(line(head)) + rows.map(line).joined()
  }

  private static func list(_ reasons: [String: UInt64]) -> String {
    reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }

  private static func number(_ value: Double?) -> String {
    guard let value else { return "–" }
    let scaled = Int((value * 10).rounded())
    return value >= 100 ? "\(scaled / 10)" : "\(scaled / 10).\(scaled % 10)"
  }

  /// Bytes, as people read them.
  static func size(_ bytes: Int) -> String {
    bytes >= 10 << 20 ? "\(bytes >> 20) MiB" : bytes >= 10 << 10 ? "\(bytes >> 10) KiB" : "\(bytes) B"
  }

  static func length(_ seconds: Double) -> String {
    let s = Int(seconds)
    if s >= 86_400 { return "\(s / 86_400) d \(s % 86_400 / 3600) h" }
    if s >= 3600 { return "\(s / 3600) h \(s % 3600 / 60) min" }
    return s >= 60 ? "\(s / 60) min \(s % 60) s" : "\(s) s"
  }
}

/// Terminal colours, or none.
package struct Paint: Sendable {
  private let colour: Bool

  package init(colour: Bool) { self.colour = colour }

  package func bold(_ text: String) -> String { wrap(text, "1") }
  package func dim(_ text: String) -> String { wrap(text, "2") }
  package func red(_ text: String) -> String { wrap(text, "31") }
  package func green(_ text: String) -> String { wrap(text, "32") }
  package func yellow(_ text: String) -> String { wrap(text, "33") }

  func state(_ state: Snapshot.Instance.State) -> String {
    switch state {
    case .ready: green(state.rawValue)
    case .starting: yellow(state.rawValue)
    case .unready, .down: red(state.rawValue)
    case .drained, .vacant: state.rawValue
    }
  }

  func breaker(_ state: Snapshot.BreakerState) -> String {
    switch state {
    case .closed: "closed"
    case .probing: yellow("probing")
    case .open: red("open")
    }
  }

  private func wrap(_ text: String, _ code: String) -> String { colour ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text }

  /// The columns a text takes: escape sequences take none.
  static func width(_ text: String) -> Int {
    var count = 0
    var escaped = false
    for character in text {
      if character == "\u{1b}" {
        escaped = true
      } else if escaped {
        if character == "m" { escaped = false }
      } else {
        count += 1
      }
    }
    return count
  }
}
