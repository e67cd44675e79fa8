// SPDX-License-Identifier: Apache-2.0
package import WeirModel
package import WeirSimulation

extension PlanDifference {
  /// For people; with the forecasts of both files, where there are any, story by story.
  package func text(_ old: [Forecast] = [], _ new: [Forecast] = []) -> String {
    var out = "\(system): "
    if isEmpty { return out + "nothing changes\n" }
    out += "\(changes.count) change\(changes.count == 1 ? "" : "s")\n"
    if let refusal { out += "  a running system would refuse it: \(refusal)\n" }
    for change in changes {
      let sign =
        switch change.kind {
        case .added: "+";
        case .removed: "-";
        case .changed: "~"
        }
      out += "\n\(sign) \(change.thing)\(change.name.isEmpty ? "" : " " + change.name)\n"
      // What is added or removed as a whole is in the file; its values would only repeat it.
      if change.kind == .changed {
        for value in change.values {
          out += "    \(value.key): \(value.old ?? "–") → \(value.new ?? "–")\n"
        }
      }
      for effect in change.effects { out += "    ⇒ \(effect)\n" }
    }
    out +=
      "\n  keep what they know: \(kept.services) services and stores, \(kept.calls) calls; \(kept.routes) routes keep their counters\n"
    out += PlanDifference.forecasts(old, new)
    return out
  }

  private static func forecasts(_ old: [Forecast], _ new: [Forecast]) -> String {
    var out = ""
    for after in new {
      guard let before = old.first(where: { $0.scenario == after.scenario }) else { continue }
      out += "\n  forecast, \(after.scenario ?? "quiet")\(String(repeating: " ", count: 12))old → new (95 %)\n"
      for row in ForecastComparison(before, after).rows {
        out += "    \(row.name): \(row.oldText) → \(row.newText)  \(row.word)\n"
      }
    }
    return out
  }

  package func json(_ old: [Forecast] = [], _ new: [Forecast] = []) -> JSONValue {
    func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
    return .object([
      ("schema", .int(1)), ("system", .string(system)), ("refusal", text(refusal)),
      (
        "changes",
        .array(
          changes.map { change in
            .object([
              ("kind", .string(change.kind.rawValue)), ("thing", .string(change.thing)),
              ("name", .string(change.name)),
              (
                "values",
                .array(
                  change.values.map {
                    .object([
                      ("key", .string($0.key)), ("old", text($0.old)), ("new", text($0.new)),
                      ("simulateOnly", .bool($0.isModelOnly)),
                    ])
                  })
              ),
              ("effects", .array(change.effects.map { .string($0) })),
            ])
          })
      ),
      (
        "kept",
        .object([("services", .int(kept.services)), ("calls", .int(kept.calls)), ("routes", .int(kept.routes))])
      ),
      (
        "forecasts",
        .array(
          new.compactMap { after in
            guard let before = old.first(where: { $0.scenario == after.scenario }) else { return nil }
            return ForecastComparison(before, after).json
          })
      ),
    ])
  }
}

/// Two forecasts of one story, requirement by requirement.
package struct ForecastComparison: Sendable, Equatable {
  package struct Row: Sendable, Equatable {
    package var name: String
    package var old: Estimate
    package var new: Estimate
    package var isLatency: Bool
    /// Of the requirement, where there is one.
    package var oldOutcome: Forecast.Verdict.Outcome?
    package var newOutcome: Forecast.Verdict.Outcome?

    /// Whole intervals apart, or nothing is said.
    package var word: String {
      let verdicts = newOutcome.map { new in
        oldOutcome.map { "(\($0.rawValue) → \(new.rawValue))" } ?? "(\(new.rawValue))"
      }
      let direction =
        if new.low > old.high { isLatency ? "worse" : "better" } else if new.high < old.low {
          isLatency ? "better" : "worse"
        } else { "no difference to be seen" }
      return ([direction] + (verdicts.map { [$0] } ?? [])).joined(separator: " ")
    }

    package var oldText: String { Row.text(old, isLatency) }
    package var newText: String { Row.text(new, isLatency) }

    private static func text(_ estimate: Estimate, _ isLatency: Bool) -> String {
      ForecastText.range(estimate, isLatency ? ForecastText.time : ForecastText.percent)
    }
  }

  package var scenario: String?
  package var rows: [Row]

  package init(_ old: Forecast, _ new: Forecast) {
    scenario = new.scenario
    func row(_ name: String, _ path: (Forecast) -> Estimate, isLatency: Bool, verdict: String? = nil) -> Row {
      Row(
        name: name, old: path(old), new: path(new), isLatency: isLatency,
        oldOutcome: old.verdicts.first { $0.name == (verdict ?? name) }?.outcome,
        newOutcome: new.verdicts.first { $0.name == (verdict ?? name) }?.outcome)
    }
    rows = [
      row("availability", \.total.availability, isLatency: false),
      row("p50", \.total.latency.p50, isLatency: true, verdict: "latency p50"),
      row("p99", \.total.latency.p99, isLatency: true, verdict: "latency p99"),
    ]
    for verdict in new.verdicts where !["availability", "latency p50", "latency p99"].contains(verdict.name) {
      let before = old.verdicts.first { $0.name == verdict.name }
      rows.append(
        Row(
          name: verdict.name, old: before?.estimate ?? verdict.estimate, new: verdict.estimate,
          isLatency: verdict.isLatency, oldOutcome: before?.outcome, newOutcome: verdict.outcome))
    }
  }

  package var json: JSONValue {
    func estimate(_ e: Estimate) -> JSONValue {
      .object([("value", .double(e.value)), ("low", .double(e.low)), ("high", .double(e.high))])
    }
    return .object([
      ("scenario", scenario.map { .string($0) } ?? .null),
      (
        "rows",
        .array(
          rows.map {
            .object([
              ("name", .string($0.name)), ("unit", .string($0.isLatency ? "nanoseconds" : "share")),
              ("old", estimate($0.old)), ("new", estimate($0.new)), ("difference", .string($0.word)),
            ])
          })
      ),
    ])
  }
}
