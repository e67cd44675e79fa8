// SPDX-License-Identifier: Apache-2.0
package import WeirSimulation

/// Forecasts as people read them: the verdict first, then where the time goes, who is full, what happened.
package struct ForecastText: Sendable {
  /// Only on a terminal.
  package var color = false
  /// Events that are shown of those that were kept.
  package var eventsMax = 12

  package init(color: Bool = false) { self.color = color }

  /// All of them, and a line that sums up.
  package func text(_ forecasts: [Forecast]) -> String {
    var out = forecasts.map(text).joined(separator: "\n")
    if forecasts.count > 1 {
      let outcomes = Forecast.Verdict.Outcome.allCases.compactMap { outcome -> String? in
        let count = forecasts.count { !$0.verdicts.isEmpty && $0.outcome == outcome }
        return count == 0 ? nil : "\(count) \(outcome.rawValue)"
      }
      if !outcomes.isEmpty { out += "\n\(forecasts.count) stories: \(outcomes.joined(separator: ", "))\n" }
    }
    return out
  }

  package func text(_ f: Forecast) -> String {
    var out = bold("\(f.system): \(f.scenario ?? "quiet")")
    out += "  " + ForecastText.count(f.total.offered.value) + "/s, "
    out += "\(f.replications) × \(ForecastText.time(Double(f.length)))"
    out += " after \(ForecastText.time(Double(f.warmUp))), \(f.loops) loop\(f.loops == 1 ? "" : "s"), seed \(f.seed)\n"
    if let violation = f.violation { out += paint("  this run contradicts itself: \(violation)\n", "31") }
    out += verdicts(f)
    out += "\n"
    out += flows("route", f.routes.count > 1 ? f.routes + [f.total] : f.routes)
    out += "\n"
    out += flows("call", f.edges)
    out += "\n"
    out += services(f)
    out += queues(f)
    out += sagas(f)
    out += ended(f)
    out += events(f)
    return out
  }

  // MARK: - Parts

  private func verdicts(_ f: Forecast) -> String {
    var out = ""
    for verdict in f.verdicts {
      let required =
        verdict.isLatency
        ? "≤ \(ForecastText.time(verdict.required))"
        : verdict.isCount
          ? "≤ \(ForecastText.count(verdict.required))" : "≥ \(ForecastText.percent(verdict.required))"
      let (sign, color) =
        switch verdict.outcome {
        case .met: ("✓", "32")
        case .missed: ("✗", "31")
        case .undecided: ("?", "33")
        }
      let range =
        verdict.isLatency
        ? ForecastText.range(verdict.estimate, ForecastText.time)
        : ForecastText.range(verdict.estimate, verdict.isCount ? ForecastText.count : ForecastText.percent)
      let line = "  \(sign) \(verdict.name) \(required): \(verdict.outcome.rawValue), \(range)"
      out += paint(line, color) + "\n"
    }
    if f.verdicts.isEmpty { out += "  nothing is required, so there is no verdict\n" }
    return out
  }

  private func flows(_ kind: String, _ flows: [Forecast.Flow]) -> String {
    var rows = [[kind, "offered/s", "done/s", "answered", "mean", "p50", "p90", "p99", "p99.9", "shape"]]
    let isCall = flows.contains { $0.attempts != nil }
    if isCall { rows[0] += ["attempts", "waits for a place"] }
    for flow in flows {
      let l = flow.latency
      guard flow.offered.value > 0 else {
        rows.append([flow.name, "0"] + [String](repeating: "", count: rows[0].count - 2))
        continue
      }
      var row = [
        flow.name, ForecastText.count(flow.offered.value), ForecastText.count(flow.done.value),
        ForecastText.percent(flow.availability.value), ForecastText.withHalf(l.mean), ForecastText.time(l.p50.value),
        ForecastText.time(l.p90.value), ForecastText.withHalf(l.p99), ForecastText.time(l.p999.value),
        ForecastText.sparkline(l.shape),
      ]
      if isCall {
        row.append(flow.attempts.map { ForecastText.decimal($0.value, 3) } ?? "")
        row.append(
          flow.queue.map {
            $0.share.value == 0
              ? "–" : "\(ForecastText.percent($0.share.value)), \(ForecastText.time($0.wait.value))"
          } ?? "")
      }
      rows.append(row)
    }
    return table(rows)
  }

  private func services(_ f: Forecast) -> String {
    var rows = [["service", "instances", "workers", "busy", "", "queue within", "wait there"]]
    for s in f.services {
      let share = s.utilisation?.value
      rows.append([
        s.name, "\(s.instances)", s.workers.map(String.init) ?? "any",
        share.map { ForecastText.percent($0) } ?? ForecastText.decimal(s.busy.value, 2),
        share.map { ForecastText.bar($0, width: 12) } ?? "", ForecastText.decimal(s.queue.value, 2),
        s.queue.value == 0 ? "–" : ForecastText.time(s.wait.value),
      ])
    }
    var out = table(rows)
    if let b = f.bottleneck {
      out +=
        "  full first: \(b.service), at \(ForecastText.decimal(b.factor, 2)) times this load (now \(ForecastText.percent(b.utilisation)))\n"
    }
    return out
  }

  /// What becomes of messages: how many wait, how long it takes, what is given up.
  private func queues(_ f: Forecast) -> String {
    guard !f.queues.isEmpty else { return "" }
    var rows = [
      [
        "queue", "sent/s", "done/s", "inside", "in work", "peak waiting", "waited", "drained after", "time p50", "p99",
        "deliveries", "dead", "lost",
      ]
    ]
    for q in f.queues {
      guard q.sent.value > 0 || q.depth.value > 0 else {
        rows.append([q.name, "0"] + [String](repeating: "", count: rows[0].count - 2))
        continue
      }
      let dead = q.dead.reduce(0) { $0 + $1.share }
      rows.append([
        q.name, ForecastText.count(q.sent.value), ForecastText.count(q.done.value), ForecastText.count(q.depth.value),
        ForecastText.count(q.inFlight.value), ForecastText.count(q.peak.value), ForecastText.time(q.oldest.value),
        q.undrained > 0.5 ? "not yet" : q.drain.map { ForecastText.time($0.value) } ?? "–",
        ForecastText.time(q.time.p50.value), ForecastText.withHalf(q.time.p99),
        ForecastText.decimal(q.attempts.value, 3), dead == 0 ? "0" : ForecastText.percent(dead),
        ForecastText.count(q.lost.value),
      ])
    }
    var out = "\n" + table(rows)
    for q in f.queues {
      if !q.dead.isEmpty {
        out += "  dead letters of \(q.name): "
        out += q.dead.map { "\($0.name) \(ForecastText.percent($0.share))" }.joined(separator: ", ") + "\n"
      }
      out += order(q)
      if q.refused > 0 {
        out += "  \(q.name) was full: \(ForecastText.percent(q.refused)) of what was sent was refused\n"
      }
    }
    return out
  }

  /// What was worked on out of its order or twice, and what was done against it.
  private func order(_ q: Forecast.Messages) -> String {
    var out = ""
    var wrong: [String] = []
    if q.outOfOrder.value > 0 { wrong.append("\(ForecastText.count(q.outOfOrder.value)) out of order") }
    if q.doneTwice.value > 0 { wrong.append("\(ForecastText.count(q.doneTwice.value)) twice") }
    if !wrong.isEmpty { out += "  \(q.name), worked on in a story: \(wrong.joined(separator: ", "))\n" }
    guard let kept = q.kept, let known = q.known, let skipped = q.skipped else { return out }
    var done = ["\(ForecastText.count(kept.value)) put aside until their turn"]
    done.append("\(ForecastText.count(known.value)) left out as known")
    if skipped.value > 0 { done.append("\(ForecastText.count(skipped.value)) waited for in vain") }
    return out + "  \(q.name), sorted in a story: \(done.joined(separator: ", "))\n"
  }

  /// How sagas end, and how long they take.
  private func sagas(_ f: Forecast) -> String {
    guard !f.sagas.isEmpty else { return "" }
    var rows = [
      ["saga", "begun/s", "finished/s", "undone", "stuck", "left half done", "under way", "time p50", "p99", "calls"]
    ]
    for s in f.sagas {
      guard s.begun.value > 0 || s.underWay.value > 0 else {
        rows.append([s.name, "0"] + [String](repeating: "", count: rows[0].count - 2))
        continue
      }
      rows.append([
        s.name, ForecastText.count(s.begun.value), ForecastText.count(s.finished.value),
        s.compensated == 0 ? "0" : ForecastText.percent(s.compensated), ForecastText.count(s.stuck.value),
        ForecastText.count(s.leftDone.value), ForecastText.count(s.underWay.value),
        ForecastText.time(s.time.p50.value), ForecastText.withHalf(s.time.p99), ForecastText.decimal(s.calls.value, 2),
      ])
    }
    return "\n" + table(rows)
  }

  /// Why requests and calls ended otherwise than with the callee's own answer.
  private func ended(_ f: Forecast) -> String {
    let told = (f.routes + f.edges).filter { !$0.reasons.isEmpty }
    guard !told.isEmpty else { return "" }
    var out = "\n  ended otherwise than with the callee's own answer\n"
    for flow in told {
      let shares = flow.reasons.sorted { ($1.share, $0.name) < ($0.share, $1.name) }
      out += "    \(flow.name): "
      out += shares.map { "\($0.name) \(ForecastText.percent($0.share))" }.joined(separator: ", ") + "\n"
    }
    return out
  }

  private func events(_ f: Forecast) -> String {
    guard !f.events.isEmpty else { return "" }
    var out = "\n  events of the first replication\n"
    for event in f.events.prefix(eventsMax) {
      out += "    \(ForecastText.padded(ForecastText.time(Double(event.at)), 9))  \(event.kind)  \(event.subject)"
      if let instance = event.instance { out += " #\(instance)" }
      if let reason = event.reason { out += " (\(reason))" }
      if let until = event.until { out += " until \(ForecastText.time(Double(until)))" }
      out += "\n"
    }
    let more = f.events.count - min(eventsMax, f.events.count) + f.eventsLost
    if more > 0 { out += "    and \(more) more\n" }
    return out
  }

  // MARK: - Shapes

  /// Columns as wide as their widest cell: the first to the left, numbers to the right.
  private func table(_ rows: [[String]]) -> String {
    guard let head = rows.first else { return "" }
    let widths = head.indices.map { column in rows.reduce(0) { max($0, $1[column].count) } }
    var out = ""
    for (i, row) in rows.enumerated() {
      var line = "  "
      for (column, cell) in row.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        line += column == 0 ? cell + space : "  " + space + cell
      }
      while line.last == " " { line.removeLast() }
      out += (i == 0 ? bold(line) : line) + "\n"
    }
    return out
  }

  private func bold(_ text: String) -> String { paint(text, "1") }

  private func paint(_ text: String, _ code: String) -> String {
    color ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
  }

  /// `▁▂▇█▃▁`: shares, the largest at full height.
  static func sparkline(_ shares: [Double]) -> String {
    let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    guard let most = shares.max(), most > 0 else { return "" }
    return String(shares.map { blocks[min(7, max(0, Int($0 / most * 7.999)))] })
  }

  /// `█████▍······`: a share of a full bar, in eighths of a place.
  static func bar(_ share: Double, width: Int) -> String {
    let eighths = Int((max(0, min(1, share)) * Double(width) * 8).rounded())
    let parts: [Character] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    var out = String(repeating: "█", count: eighths / 8)
    if eighths % 8 > 0 { out.append(parts[eighths % 8 - 1]) }
    return out + String(repeating: "·", count: width - out.count)
  }

  // MARK: - Numbers, without a locale

  /// `12.3ms`: three digits that count, and the unit of the file's language.
  package static func time(_ nanoseconds: Double) -> String {
    guard nanoseconds.isFinite else { return "?" }
    if nanoseconds < 0.5 { return "0s" }
    if nanoseconds < 999.5 { return "\(Int(nanoseconds.rounded()))ns" }
    if nanoseconds < 999_500 { return digits(nanoseconds / 1e3) + "us" }
    if nanoseconds < 999_500_000 { return digits(nanoseconds / 1e6) + "ms" }
    return digits(nanoseconds / 1e9) + "s"
  }

  /// Three significant digits; whole numbers stay whole.
  static func digits(_ x: Double) -> String {
    if x >= 99.95 { return "\(Int(x.rounded()))" }
    let text = decimal(x, x >= 9.995 ? 1 : 2)
    var out = text
    while out.last == "0" { out.removeLast() }
    if out.last == "." { out.removeLast() }
    return out
  }

  /// As many digits behind the point as there are.
  static func decimal(_ x: Double, _ places: Int) -> String {
    guard x.isFinite, abs(x) < 1e15 else { return "?" }
    var factor = 1.0
    for _ in 0..<places { factor *= 10 }
    let whole = (abs(x) * factor).rounded()
    let sign = x < 0 && whole > 0 ? "-" : ""
    let head = Int(whole / factor)
    if places == 0 { return sign + "\(head)" }
    let tail = String(Int(whole - Double(head) * factor))
    return sign + "\(head)." + String(repeating: "0", count: places - tail.count) + tail
  }

  static func count(_ x: Double) -> String { x >= 1000 ? decimal(x, 0) : digits(x) }

  /// `99.95%`: so many digits that what is missing to the whole can be told.
  package static func percent(_ share: Double) -> String {
    let missing = min(share, 1 - share)
    let places = missing >= 0.1 || missing <= 0 ? 1 : missing >= 0.001 ? 2 : missing >= 0.0001 ? 3 : 4
    var out = decimal(share * 100, places)
    while out.last == "0", out.contains(".") { out.removeLast() }
    if out.last == "." { out.removeLast() }
    return out + "%"
  }

  /// `12.3ms ±2%`.
  static func withHalf(_ estimate: Estimate) -> String {
    let half = estimate.relativeHalfWidth
    return time(estimate.value) + (half.isFinite ? " ±\(percent(half))" : " ±?")
  }

  static func range(_ estimate: Estimate, _ write: (Double) -> String) -> String {
    "\(write(estimate.value)) (\(write(estimate.low)) … \(write(estimate.high)))"
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
