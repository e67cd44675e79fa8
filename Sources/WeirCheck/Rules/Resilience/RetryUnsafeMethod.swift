// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A retry that is asked for where a repeat would do the thing twice.
enum RetryUnsafeMethod: Rule {
  static let info = RuleInfo(
    "retry-unsafe-method", .resilience, .warning, title: "A retry of requests that must not be done twice",
    why: "When the answer to a POST is lost, nobody knows whether it was done; sent again, it may be done twice: 1 "
      + "order, 2 payments. Weir therefore repeats POST and PATCH only with an `Idempotency-Key`, so `retry: 3` is "
      + "1 attempt without one.",
    detection: "a call with `retry` above 1 written at the call, by which an operation makes a POST or PATCH",
    formula: "attempts > 1 and method ∈ {POST, PATCH}",
    mend: "Take the retry out, or let the program send an Idempotency-Key that the callee honours. For what comes "
      + "through the gateway, `idempotency: 24h` at the route does requests with a key once.",
    falsePositives: "A program that sends an Idempotency-Key with each of these requests: accept it with that reason. "
      + "Retries of `defaults` are not looked at, for they are meant for all calls.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for service in subject.design.services {
      for (index, call) in service.calls.enumerated() {
        let attempts = call.retry.attempts
        guard attempts.value > 1, let written = attempts.place?.under(call.place),
          case .service(let callee) = call.to.value
        else { continue }
        var unsafe: [Operation] = []
        for operation in service.operations {
          collect(operation.does, call: index) { step in
            guard let operation = step.operation else { return }
            let made = subject.design.services[callee].operations[operation]
            if (made.method == "POST" || made.method == "PATCH") && !unsafe.contains(made) { unsafe.append(made) }
          }
        }
        guard let first = unsafe.first else { continue }
        let name = subject.design.services[callee].name.text
        let request = "\(first.method) \(name)\(first.path)"
        found.append(
          info.finding(
            "\(service.name.text) asks for \(attempts.value) attempts of \(request), which must not be done twice",
            at: written, spot: written.entry, caret: "\(first.method) is sent 1 time, not \(attempts.value)",
            why:
              "without an Idempotency-Key \(attempts.value - 1) of \(attempts.value) attempts are never made; with a "
              + "program that retries by itself, 1 request may be done \(attempts.value) times",
            mend: "retry: 1", acceptAt: call.place,
            inputs: [
              Finding.Input("attempts", String(attempts.value), written),
              Finding.Input("method", first.method, first.place),
            ], result: "1 attempt of \(attempts.value)",
            related: unsafe.map { Diagnostic.Related($0.place, "\($0.method) \($0.path) of \(name)") }))
      }
    }
    return found
  }

  private static func collect(_ steps: [Step], call: Int, _ body: (CallStep) -> Void) {
    for step in steps {
      switch step {
      case .call(let step): if step.call.value == call { body(step) }
      case .send: break
      case .together(let steps): collect(steps, call: call, body)
      }
    }
  }
}
