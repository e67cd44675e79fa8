// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// What the rules look at: the design, its plan, and what several rules ask of both.
struct Subject: Sendable {
  let design: Design
  let plan: Plan
  /// By index of `design.services`: the calls that lead to it, in the order of the file.
  let callers: [[Caller]]

  /// A call and who makes it.
  struct Caller: Sendable {
    /// Index in `design.services`; nil for the gateway.
    var service: Int?
    var call: Call
  }

  init(_ design: Design) {
    self.design = design
    plan = Plan(design)
    var callers = [[Caller]](repeating: [], count: design.services.count)
    for gateway in design.gateways {
      for call in gateway.calls {
        if case .service(let callee) = call.to.value { callers[callee].append(Caller(service: nil, call: call)) }
      }
    }
    for (index, service) in design.services.enumerated() {
      for call in service.calls {
        if case .service(let callee) = call.to.value { callers[callee].append(Caller(service: index, call: call)) }
      }
    }
    self.callers = callers
  }

  /// `gateway`, or the service's name.
  func name(of service: Int?) -> String { service.map { design.services[$0].name.text } ?? "gateway" }
}
