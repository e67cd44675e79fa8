// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase
internal import WeirModel
internal import WeirPatterns

/// How many requests a second reach each component, and how long each holds a worker, by what the file says.
struct OfferedLoad {
  /// Of one component, over all its operations.
  struct Share {
    /// Requests a second, tries included.
    var rate = 0.0
    /// Rate × time: workers that are busy on average (Little's law).
    var busy = 0.0
    /// Mean time a request holds a worker, in nanoseconds.
    var held: Double { rate > 0 ? busy / rate * 1e9 : 0 }
  }

  /// By service of the design.
  private(set) var services: [Share]
  private(set) var stores: [Share]
  /// By queue of the plan, groups of topics and streams included: messages a second that are put into it.
  private(set) var queues: [Double]
  /// By service, own work and calls: in nanoseconds; the first is that of a request that names no operation, then one for
  /// each operation.
  private var times: [[Double]] = []
  private let subject: Subject
  /// What traffic is multiplied with, so that it is the load that is required.
  let scale: Double

  init(_ subject: Subject) {
    self.subject = subject
    let design = subject.design
    services = Array(repeating: Share(), count: design.services.count)
    stores = Array(repeating: Share(), count: design.stores.count)
    queues = Array(repeating: 0, count: subject.plan.queues.count)
    let total = design.traffic.reduce(0) { $0 + $1.rate.value.perSecond }
    scale = design.requirements.load.map { total > 0 ? $0.value.perSecond / total : 1 } ?? 1
    times = design.services.map { [Double](repeating: 0, count: $0.operations.count + 1) }
    // Callees first: what holds a caller is what its callees take.
    for service in subject.order.reversed() {
      for slot in times[service].indices { times[service][slot] = time(service, slot) }
    }
    spread()
  }

  /// Mean time that a request of a service's operation holds a worker, in nanoseconds; nil names no operation.
  func held(_ service: Int, operation: Int?) -> Double { times[service][operation.map { $0 + 1 } ?? 0] }

  // MARK: Times

  private func time(_ service: Int, _ slot: Int) -> Double {
    let declared = subject.design.services[service]
    let work = slot == 0 ? declared.work : declared.operations[slot - 1].work ?? declared.work
    return (work?.distribution.mean ?? 0)
      + steps(service, slot).reduce(0) { $0 + time(of: $1, in: service, isWrite: isWrite(service, slot)) }
  }

  /// Without operations, or for a request that names none: every call, in order, once.
  private func steps(_ service: Int, _ slot: Int) -> [Plan.Step] {
    let planned = subject.plan.services[service]
    if slot > 0 { return planned.operations[slot - 1].steps }
    return planned.edges.map { .call(edge: $0, operation: nil, share: 1, optional: false) }
  }

  private func isWrite(_ service: Int, _ slot: Int) -> Bool {
    slot > 0 && !["GET", "HEAD", "OPTIONS"].contains(subject.design.services[service].operations[slot - 1].method)
  }

  /// Of calls made at the same time the longest counts; their mean longest is more, so this is a lower bound.
  private func time(of step: Plan.Step, in service: Int, isWrite: Bool) -> Double {
    switch step {
    case .together(let steps): return steps.map { time(of: $0, in: service, isWrite: isWrite) }.max() ?? 0
    case .call(let edge, let operation, let share, _):
      let call = subject.plan.edges[edge].call
      let whole: Double
      switch call.to.value {
      case .store(let store): whole = self.store(store, isWrite: isWrite)
      case .service(let callee):
        whole = subject.isInCircle(service, callee) ? 0 : times[callee][operation.map { $0 + 1 } ?? 0]
      case .queue, .topic, .stream, .saga: whole = 0  // sent to, not called
      }
      return share * min(whole * tries(call), Double(call.timeout.value.inNanoseconds))
    }
  }

  private func store(_ index: Int, isWrite: Bool) -> Double {
    let store = subject.design.stores[index]
    return ((isWrite ? store.write : nil) ?? store.work)?.distribution.mean ?? 0
  }

  /// Attempts that a call makes on average when its callee is away as often as the file says.
  ///
  /// (1 − pⁿ) / (1 − p) for n attempts that fail with probability p; no more than the budget allows.
  private func tries(_ call: Call) -> Double {
    guard case .service(let callee) = call.to.value,
      let availability = subject.design.services[callee].availability?.value, availability > 0
    else { return 1 }
    let attempts = Double(call.retry.attempts.value)
    let free = (1 - pow(1 - availability, attempts)) / availability
    return min(free, 1 + call.retry.budget.value)
  }

  // MARK: Rates

  private mutating func spread() {
    let design = subject.design
    var rates = design.services.map { [Double](repeating: 0, count: $0.operations.count + 1) }
    var direct = Sent(queues: [Double](repeating: 0, count: queues.count), steps: [])
    for (index, rate) in entering().enumerated() {
      switch design.traffic[index].to.value {
      case .gateway(_, _, let gateway, let route, let operations, let copied):
        if let queue = design.gateways[gateway].routes[route].edge.queue { direct.queues[queue.value] += rate }
        for part in design.gateways[gateway].routes[route].edge.compose {
          let call = design.gateways[gateway].calls.first { $0.to.value == .service(part.to.value) }
          rates[part.to.value][part.operation.map { $0 + 1 } ?? 0] += rate * (call.map(tries) ?? 1)
        }
        let shares = design.gateways[gateway].routes[route].to
        let weights = Double(shares.reduce(0) { $0 + $1.weight.value })
        for (share, operation) in zip(shares, operations) {
          let callee = share.service.value
          let call = design.gateways[gateway].calls.first { $0.to.value == .service(callee) }
          let part = rate * Double(share.weight.value) / weights
          rates[callee][operation.map { $0 + 1 } ?? 0] += part * (call.map(tries) ?? 1)
        }
        if let mirror = design.gateways[gateway].routes[route].target.mirror {
          rates[mirror.to.value][copied.map { $0 + 1 } ?? 0] += rate * mirror.share.value
        }
      case .component(.service(let callee), _, _, let operation):
        rates[callee][operation.map { $0 + 1 } ?? 0] += rate
      case .component(.store(let store), let method, _, _):
        add(rate, to: store, isWrite: method.map { !["GET", "HEAD", "OPTIONS"].contains($0) } ?? false)
      case .component: break  // nothing else is called
      }
    }
    // What is sent arrives somewhere, and may be sent on from there; a circle of queues is walked once.
    for _ in 0...queues.count + design.sagas.count {
      var sent = flow(rates)
      for index in queues.indices { sent.queues[index] += direct.queues[index] }
      direct = Sent(queues: [Double](repeating: 0, count: queues.count), steps: [])
      if sent.isNothing { break }
      rates = design.services.map { [Double](repeating: 0, count: $0.operations.count + 1) }
      for (index, rate) in sent.queues.enumerated() {
        queues[index] += rate
        guard let push = subject.plan.queues[index].push else { continue }
        let most = subject.plan.queues[index].settings.rate?.perSecond ?? .infinity
        // Full requests: as few as they can be, and as few as they become before a service is over its capacity. While less
        // comes they are smaller, and more, up to one a message; that takes places that are free, and needs none.
        rates[push.service][push.operation.map { $0 + 1 } ?? 0] += min(rate, most) / Double(max(1, push.batch))
      }
      for step in sent.steps { rates[step.to.service][step.to.operation.map { $0 + 1 } ?? 0] += step.rate }
    }
  }

  /// What is sent in a second.
  private struct Sent {
    /// By queue of the plan.
    var queues: [Double]
    /// Of sagas that are begun.
    var steps: [(to: Errand, rate: Double)]

    var isNothing: Bool { queues.allSatisfy { $0 == 0 } && steps.isEmpty }
  }

  /// A message to a topic or stream is one to each of its groups; a saga that is begun is all of its steps.
  private func add(_ rate: Double, of send: Plan.Send, to sent: inout Sent) {
    let plan = subject.plan
    switch send.to {
    case .queue(let index): sent.queues[index] += rate
    case .topic(let index): for group in plan.logs[index].groups { sent.queues[group.queue] += rate }
    case .stream(let index):
      for group in plan.logs[plan.design.topics.count + index].groups { sent.queues[group.queue] += rate }
    case .saga(let index): for step in plan.design.sagas[index].steps { sent.steps.append((step.to.value, rate)) }
    case .service, .store: break
    }
  }

  /// Adds what comes of requests at these rates, by service and slot; the messages that are sent, by queue.
  private mutating func flow(_ entering: [[Double]]) -> Sent {
    var rates = entering
    var sent = Sent(queues: [Double](repeating: 0, count: queues.count), steps: [])
    for service in subject.order {
      for slot in rates[service].indices where rates[service][slot] > 0 {
        let rate = rates[service][slot]
        services[service].rate += rate
        services[service].busy += rate * times[service][slot] / 1e9
        for step in steps(service, slot) {
          pass(rate, step, from: service, isWrite: isWrite(service, slot), &rates)
        }
        let planned = subject.plan.services[service]
        for send in slot > 0 ? planned.operations[slot - 1].sends : planned.sends {
          if rate * send.share > 0 { add(rate * send.share, of: send, to: &sent) }
        }
      }
    }
    return sent
  }

  private mutating func pass(
    _ rate: Double, _ step: Plan.Step, from service: Int, isWrite: Bool, _ rates: inout [[Double]]
  ) {
    switch step {
    case .together(let steps): for step in steps { pass(rate, step, from: service, isWrite: isWrite, &rates) }
    case .call(let edge, let operation, let share, _):
      let call = subject.plan.edges[edge].call
      let made = rate * share * tries(call)
      switch call.to.value {
      case .store(let store): add(made, to: store, isWrite: isWrite)
      case .service(let callee):
        if !subject.isInCircle(service, callee) { rates[callee][operation.map { $0 + 1 } ?? 0] += made }
      case .queue, .topic, .stream, .saga: break  // sent to, not called
      }
    }
  }

  private mutating func add(_ rate: Double, to store: Int, isWrite: Bool) {
    stores[store].rate += rate
    stores[store].busy += rate * self.store(store, isWrite: isWrite) / 1e9
  }

  /// The rate of each traffic behind the limits of its route.
  private func entering() -> [Double] {
    let design = subject.design
    var rates = design.traffic.map { $0.rate.value.perSecond * scale }
    for (g, gateway) in design.gateways.enumerated() {
      for (r, route) in gateway.routes.enumerated() {
        let members = design.traffic.indices.filter {
          if case .gateway(_, _, g, r, _, _) = design.traffic[$0].to.value { true } else { false }
        }
        for limit in gateway.limits + route.limits {
          let most = limit.rate.value.perSecond
          if limit.countsAll {
            let sum = members.reduce(0) { $0 + rates[$1] }
            if sum > most { for index in members { rates[index] *= most / sum } }
          } else {
            for index in members {
              if let clients = design.traffic[index].clients {
                rates[index] = min(rates[index], Double(clients.value) * most)
              }
            }
          }
        }
      }
    }
    return rates
  }
}

extension Work.Distribution {
  /// In nanoseconds; of a lognormal median · e^(σ²/2).
  var mean: Double {
    switch self {
    case .lognormal(let median, let sigma): median * exp(sigma * sigma / 2)
    case .exponential(let mean): mean
    case .constant(let value): value
    }
  }
}
