// SPDX-License-Identifier: Apache-2.0
package import WeirModel
package import WeirSimulation

/// Forecasts for machines: `{ "schema": 1, "forecasts": […] }`.
///
/// Members are sorted, numbers are written without a locale, times are in seconds; a bound that is not known (the run was too
/// short to say) is null. The same forecast gives the same bytes.
extension Forecast {
  package static func json(_ forecasts: [Forecast]) -> JSONValue {
    .object([("forecasts", .array(forecasts.map(\.json))), ("schema", .int(1))])
  }

  package var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("edges", .array(edges.map(\.json))), ("events", .array(events.map(\.json))), ("events-lost", .int(eventsLost)),
      ("loops", .int(loops)), ("network", seconds(Double(network))), ("outcome", .string(outcome.rawValue)),
      ("run", run), ("routes", .array(routes.map(\.json))), ("services", .array(services.map(\.json))),
      ("system", .string(system)), ("total", total.json), ("verdicts", .array(verdicts.map(\.json))),
    ]
    if !queues.isEmpty { members.append(("queues", .array(queues.map(\.json)))) }
    if !sagas.isEmpty { members.append(("sagas", .array(sagas.map(\.json)))) }
    if let scenario { members.append(("scenario", .string(scenario))) }
    if let violation { members.append(("violation", .string(violation))) }
    if let bottleneck {
      members.append(
        (
          "bottleneck",
          .object([
            ("factor", .double(bottleneck.factor)), ("service", .string(bottleneck.service)),
            ("utilisation", .double(bottleneck.utilisation)),
          ])
        ))
    }
    return .object(members.sorted { $0.0 < $1.0 })
  }

  private var run: JSONValue {
    .object([
      ("batches", .int(batches)), ("length", seconds(Double(length))), ("replications", .int(replications)),
      ("requests", .double(requests)), ("seed", .string("\(seed)")), ("warm-up", seconds(Double(warmUp))),
    ])
  }
}

private func seconds(_ nanoseconds: Double) -> JSONValue {
  nanoseconds.isFinite ? .double(nanoseconds / 1e9) : .null
}

extension Estimate {
  fileprivate var json: JSONValue {
    .object([
      ("high", high.isFinite ? .double(high) : .null), ("low", .double(low)), ("value", .double(value)),
    ])
  }

  fileprivate var inSeconds: JSONValue { scaled(by: 1e-9).json }
}

extension Forecast.Flow {
  fileprivate var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("availability", availability.json), ("done", done.json), ("latency", latency.json), ("name", .string(name)),
      ("offered", offered.json),
      ("reasons", .object(reasons.map { ($0.name, .double($0.share)) }.sorted { $0.0 < $1.0 })),
    ]
    if let attempts { members.append(("attempts", attempts.json)) }
    if let fallbacks { members.append(("fallbacks", .double(fallbacks))) }
    if let queue {
      members.append(
        (
          "queue",
          .object([("length", queue.length.json), ("share", queue.share.json), ("wait", queue.wait.inSeconds)])
        ))
    }
    return .object(members.sorted { $0.0 < $1.0 })
  }
}

extension Forecast.Latency {
  fileprivate var json: JSONValue {
    .object([
      ("mean", mean.inSeconds), ("p50", p50.inSeconds), ("p90", p90.inSeconds), ("p99", p99.inSeconds),
      ("p99.9", p999.inSeconds),
    ])
  }
}

extension Forecast.Service {
  fileprivate var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("busy", busy.json), ("instances", .int(instances)), ("name", .string(name)), ("queue", queue.json),
      ("wait", wait.inSeconds),
    ]
    if let workers { members.append(("workers", .int(workers))) }
    if let utilisation { members.append(("utilisation", utilisation.json)) }
    return .object(members.sorted { $0.0 < $1.0 })
  }
}

extension Forecast.Messages {
  fileprivate var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("attempts", attempts.json), ("dead", .object(dead.map { ($0.name, .double($0.share)) }.sorted { $0.0 < $1.0 })),
      ("depth", depth.json), ("done", done.json), ("done-twice", doneTwice.json), ("drain", drain?.inSeconds ?? .null),
      ("in-flight", inFlight.json), ("lost", lost.json), ("name", .string(name)), ("oldest", oldest.inSeconds),
      ("out-of-order", outOfOrder.json), ("peak", peak.json), ("refused", .double(refused)), ("sent", sent.json),
      ("time", time.json), ("undrained", .double(undrained)), ("wait", wait.inSeconds),
    ]
    if let kept { members.append(("kept", kept.json)) }
    if let known { members.append(("known", known.json)) }
    if let skipped { members.append(("skipped", skipped.json)) }
    return .object(members.sorted { $0.0 < $1.0 })
  }
}

extension Forecast.Saga {
  fileprivate var json: JSONValue {
    .object([
      ("begun", begun.json), ("calls", calls.json), ("compensated", .double(compensated)), ("finished", finished.json),
      ("left-done", leftDone.json), ("name", .string(name)), ("stuck", stuck.json), ("time", time.json),
      ("under-way", underWay.json),
    ])
  }
}

extension Forecast.NamedEvent {
  fileprivate var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("at", seconds(Double(at))), ("kind", .string(kind)), ("subject", .string(subject)),
    ]
    if let until { members.append(("until", seconds(Double(until)))) }
    if let instance { members.append(("instance", .int(instance))) }
    if let reason { members.append(("reason", .string(reason))) }
    return .object(members.sorted { $0.0 < $1.0 })
  }
}

extension Forecast.Verdict {
  fileprivate var json: JSONValue {
    .object([
      ("estimate", isLatency ? estimate.inSeconds : estimate.json), ("name", .string(name)),
      ("outcome", .string(outcome.rawValue)), ("required", isLatency ? seconds(required) : .double(required)),
    ])
  }
}
