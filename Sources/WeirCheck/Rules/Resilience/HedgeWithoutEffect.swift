// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A hedge that is asked for where none can ever be sent.
enum HedgeWithoutEffect: Rule {
  static let info = RuleInfo(
    "hedge-without-effect", .resilience, .warning, title: "A hedge that is never sent",
    why: "A hedge goes to another instance, and only what may be done twice is sent twice. With one instance, or where "
      + "every request is a POST, `hedge: p95` reads like protection from the slow 5 % and protects from nothing.",
    detection: "a call with `hedge` written at the call, to a service of one instance, or by which the operations make "
      + "POST and PATCH only",
    formula: "instances < 2 or methods ⊆ {POST, PATCH}",
    mend: "Take the hedge out, give the callee a second instance, or read with GET.",
    falsePositives: "A program that sends an Idempotency-Key with each of these requests: accept it with that reason. "
      + "Hedges of `defaults` are not looked at, for they are meant for all calls.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for service in subject.design.services {
      for (index, call) in service.calls.enumerated() {
        guard let hedge = call.hedge, case .service(let callee) = call.to.value else { continue }
        let spot = (hedge.after.place ?? hedge.most.place)?.under(call.place)
        guard let spot else { continue }
        let target = subject.design.services[callee]
        let name = target.name.text
        if target.discovery != nil {
          // How many there are is not the file's to say.
        } else if target.instances.value < 2, case .addresses = target.kind {
          // One address may be a load balancer, but for us there is nobody else to ask.
        } else if target.instances.value >= 2 {
          guard let unsafe = onlyUnsafe(service, call: index, target) else { continue }
          let request = "\(unsafe.method) \(name)\(unsafe.path)"
          found.append(
            info.finding(
              "\(service.name.text) hedges \(name) and gets 0 hedges: all that it asks is like \(request)",
              at: spot, spot: spot.entry, caret: "0 hedges",
              why: "the slow requests to \(name) stay as slow as they are", mend: "hedge: none",
              acceptAt: call.place, inputs: [Finding.Input("method", unsafe.method, unsafe.place)],
              result: "0 hedges"))
          continue
        }
        found.append(
          info.finding(
            "\(service.name.text) hedges \(name), which has 1 instance: there is no other to ask",
            at: spot, spot: spot.entry, caret: "0 hedges",
            why: "the slow requests to \(name) stay as slow as they are", mend: "instances: 2",
            acceptAt: call.place,
            inputs: [Finding.Input("instances of \(name)", "1", target.instances.place)], result: "0 hedges"))
      }
    }
    return found
  }

  /// The first of the operations that a call makes, if none of them may be repeated.
  private static func onlyUnsafe(_ service: Service, call: Int, _ callee: Service) -> Operation? {
    var first: Operation?
    var isOnlyUnsafe = true
    for operation in service.operations {
      collect(operation.does, call: call) { step in
        guard let index = step.operation else {
          isOnlyUnsafe = false
          return
        }
        let made = callee.operations[index]
        if made.method != "POST" && made.method != "PATCH" { isOnlyUnsafe = false }
        if first == nil { first = made }
      }
    }
    return isOnlyUnsafe ? first : nil
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
