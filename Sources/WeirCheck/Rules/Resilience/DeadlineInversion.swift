// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// A caller that gives up before what it calls does.
enum DeadlineInversion: Rule {
  static let info = RuleInfo(
    "deadline-inversion", .resilience, .warning, title: "The outer timeout ends before the inner one",
    why: "The caller has gone when the inner call is still waited for: its worker is held for nobody, and a fallback "
      + "behind the inner timeout never comes. With 200 ms outside, 500 ms inside and 100 requests/s, "
      + "100/s × 0.3 s = 30 workers do nothing useful while the callee hangs.",
    detection: "for each call of a service, the shortest time that somebody waits for that service: the route's "
      + "timeout, the caller's `attempt` if it is written, else its timeout, or what a queue gives a delivery",
    formula: "timeout of the call > time that the caller waits",
    mend: "Make the inner timeout shorter than the outer one, with room for the service's own work.",
    falsePositives: "Programs that pass `Weir-Deadline` on: Weir then ends the inner call with the outer one (stores "
      + "are called by programs themselves). Calls that the operations of this caller do not make.")

  private struct Outer {
    var caller: String
    var wait: Value<Duration>
    /// Of the call or route it belongs to.
    var place: Place
  }

  static func find(_ subject: Subject) -> [Finding] {
    let design = subject.design
    let consumers = Consumer.all(subject)
    var found: [Finding] = []
    for (index, service) in design.services.enumerated() where !service.calls.isEmpty {
      guard let outer = shortest(to: index, consumers, subject) else { continue }
      for call in service.calls where call.timeout.value > outer.wait.value {
        let (name, callee) = (service.name.text, design.name(of: call.to.value).text)
        let (inside, outside) = (Say.time(call.timeout.value), Say.time(outer.wait.value))
        let rest = Say.time(call.timeout.value - outer.wait.value)
        let written = call.timeout.place?.under(call.place)
        let waits = written ?? call.place
        let fallback = call.fallback == nil ? "" : "; the fallback would come when nobody is there any more"
        found.append(
          info.finding(
            "\(name) waits \(inside) for \(callee), but \(outer.caller) waits only \(outside) for \(name)",
            at: waits, spot: waits.head(orEntryOf: written), caret: "\(inside) > \(outside)",
            why: "when \(callee) hangs, \(name) holds a worker \(rest) longer than \(outer.caller) waits" + fallback,
            mend: "timeout: \(Say.time(half(outer.wait.value)))", acceptAt: call.place,
            formula: "timeout of \(name) → \(callee) > wait of \(outer.caller) → \(name)",
            inputs: [
              Finding.Input("timeout of \(name) → \(callee)", inside, call.timeout.place),
              Finding.Input("wait of \(outer.caller) → \(name)", outside, outer.wait.place),
            ], result: "\(rest) too long",
            related: [
              Diagnostic.Related(outer.wait.place ?? outer.place, "\(outer.caller) waits \(outside) here")
            ]))
      }
    }
    return found
  }

  /// Who waits for a service for the shortest time.
  private static func shortest(to service: Int, _ consumers: [Consumer], _ subject: Subject) -> Outer? {
    var shortest: Outer?
    func take(_ outer: Outer) {
      if shortest.map({ outer.wait.value < $0.wait.value }) ?? true { shortest = outer }
    }
    for gateway in subject.design.gateways {
      for route in gateway.routes where route.services.contains(service) {
        if let timeout = route.timeout {
          take(Outer(caller: "the route \(route.name.text)", wait: timeout, place: route.name.place))
        } else if let call = gateway.calls.first(where: { $0.to.value == .service(service) }) {
          take(Outer(caller: "the gateway", wait: wait(call), place: route.name.place))
        }
      }
    }
    for caller in subject.callers[service] {
      // The gateway was asked by its routes; in a circle there is no outer one.
      guard let index = caller.service, !subject.isInCircle(index, service) else { continue }
      take(Outer(caller: subject.name(of: index), wait: wait(caller.call), place: caller.call.place))
    }
    for consumer in consumers where consumer.to.value.service == service {
      take(Outer(caller: consumer.name, wait: consumer.call.timeout, place: consumer.place))
    }
    return shortest
  }

  /// Unwritten, an attempt may take all that is left of the timeout when no other follows.
  private static func wait(_ call: Call) -> Value<Duration> {
    call.attempt.isWritten && call.attempt.value < call.timeout.value ? call.attempt : call.timeout
  }

  /// Half of it in whole milliseconds, so that it can be read: room for the service's own work.
  private static func half(_ wait: Duration) -> Duration {
    let n = wait.inNanoseconds / 2
    return .nanoseconds(n >= 2_000_000 ? n / 1_000_000 * 1_000_000 : max(1, n))
  }
}
