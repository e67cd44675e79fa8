// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// What the rules look at: the design, its plan, and what several rules ask of both.
struct Subject: Sendable {
  let design: Design
  let plan: Plan
  let today: Day
  /// What rules are told of the machine.
  let facts: MachineFacts
  /// By index of `design.services`: the calls that lead to it, the gateway's first, then in the order of the file.
  let callers: [[Caller]]
  /// The services in an order in which callers stand before those they call; within a circle as they come.
  let order: [Int]
  /// By service: which circle of calls it belongs to; a number of its own if to none.
  let circles: [Int]

  /// A call and who makes it.
  struct Caller: Sendable {
    /// Index in `design.services`; nil for the gateway.
    var service: Int?
    var call: Call
  }

  init(_ design: Design, today: Day, facts: MachineFacts) {
    self.design = design
    self.today = today
    self.facts = facts
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
    let callees = design.services.map { service in
      service.calls.compactMap { if case .service(let callee) = $0.to.value { callee } else { nil } }
    }
    (order, circles) = Subject.sorted(callees)
  }

  /// Tarjan's strongly connected components (*Depth-first search and linear graph algorithms*, 1972), with a stack of
  /// its own, for a chain of calls may be longer than the program's.
  private static func sorted(_ callees: [[Int]]) -> (order: [Int], circles: [Int]) {
    let count = callees.count
    var (number, low) = ([Int](repeating: -1, count: count), [Int](repeating: 0, count: count))
    var circles = [Int](repeating: -1, count: count)
    var (open, done): ([Int], [Int]) = ([], [])
    var next = 0
    for root in 0..<count where number[root] < 0 {
      var path: [(node: Int, edge: Int)] = [(root, 0)]
      while let (node, edge) = path.last {
        if edge == 0 && number[node] < 0 {
          number[node] = next
          low[node] = next
          next += 1
          open.append(node)
        }
        if edge < callees[node].count {
          path[path.count - 1].edge += 1
          let callee = callees[node][edge]
          if number[callee] < 0 {
            path.append((callee, 0))
          } else if circles[callee] < 0 {
            low[node] = min(low[node], number[callee])
          }
          continue
        }
        path.removeLast()
        if let parent = path.last { low[parent.node] = min(low[parent.node], low[node]) }
        guard low[node] == number[node] else { continue }
        while let member = open.popLast() {
          circles[member] = node
          done.append(member)
          if member == node { break }
        }
      }
    }
    return (done.reversed(), circles)
  }

  /// Whether a call leads back to its caller: what flows along the graph must not take it.
  func isInCircle(_ caller: Int, _ callee: Int) -> Bool { circles[caller] == circles[callee] }

  /// The services of a route, or what it is without one.
  func names(of route: Route) -> String {
    route.to.isEmpty ? "no service" : Say.list(route.services.map { design.services[$0].name.text })
  }

  /// `gateway`, or the service's name.
  func name(of service: Int?) -> String { service.map { design.services[$0].name.text } ?? "gateway" }
}
