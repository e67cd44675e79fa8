// SPDX-License-Identifier: Apache-2.0
internal import WeirCheck
internal import WeirFlows
package import WeirModel

/// What a changed file would change: by name, value by value, and what a running system would do about it.
///
/// Made of the long forms of both designs, so a key that is explained is compared; and of the move that a reload makes, so
/// what is said to keep its state keeps it.
package struct PlanDifference: Sendable, Equatable {
  package enum Kind: String, Sendable { case added, removed, changed }

  /// One key of a thing, as YAML; nil where it is not there.
  package struct Value: Sendable, Equatable {
    package var key: String
    package var old: String?
    package var new: String?
    /// Only `simulate` reads it.
    package var isModelOnly: Bool
  }

  package struct Change: Sendable, Equatable {
    package var kind: Kind
    /// What it is: `service`, `route`, `store`.
    package var thing: String
    package var name: String
    package var values: [Value]
    /// What a running system does about it, a sentence each.
    package var effects: [String] = []
  }

  package var system: String
  package var changes: [Change]
  /// How many of each keep all they have learned and counted.
  package var kept: (services: Int, routes: Int, calls: Int)
  /// Why a running system would refuse it; nil when it would take it over.
  package var refusal: String?

  package var isEmpty: Bool { changes.isEmpty }

  package static func == (a: PlanDifference, b: PlanDifference) -> Bool {
    a.system == b.system && a.changes == b.changes && a.kept == b.kept && a.refusal == b.refusal
  }

  package init(from old: Plan, to new: Plan) {
    system = new.design.system.value
    let move = PlanMove(from: old, to: new)
    changes = PlanDifference.changes(old.design, new.design)
    kept = (
      move.services.count { $0 != nil }, move.routes.count { $0 != nil },
      move.edges.indices.count { e in
        guard let to = move.edges[e] else { return false }
        return !PlanDifference.resetsBreakers(old.flow.edges[e], new.flow.edges[to])
      }
    )
    if old.design.system.value != new.design.system.value {
      refusal =
        "a run keeps its name: '\(old.design.system.value)' must be ended and '\(new.design.system.value)' started"
    } else if let first = new.design.unsupported(for: .run).first {
      refusal = "\(first.place.file):\(first.place.line):\(first.place.column): \(first.message)"
    }
    for i in changes.indices { changes[i].effects = PlanDifference.effects(of: changes[i], old, new, move) }
  }

  // MARK: - Values

  private struct Leaf {
    var path: [String]
    var value: String
    var shown: String
    var isModelOnly: Bool
  }

  private static func changes(_ old: Design, _ new: Design) -> [Change] {
    let (before, after) = (leaves(of: old), leaves(of: new))
    var order: [String] = []
    var things: [String: (thing: String, name: String, old: [(String, Leaf)], new: [(String, Leaf)])] = [:]
    func note(_ leaf: Leaf, isNew: Bool) {
      let (thing, name, key) = place(of: leaf.path)
      let id = thing + " " + name
      if things[id] == nil {
        order.append(id)
        things[id] = (thing, name, [], [])
      }
      if isNew { things[id]?.new.append((key, leaf)) } else { things[id]?.old.append((key, leaf)) }
    }
    for leaf in after { note(leaf, isNew: true) }
    for leaf in before { note(leaf, isNew: false) }
    return order.compactMap { id in
      guard let found = things[id] else { return nil }
      var was: [String: Leaf] = [:]
      for (key, leaf) in found.old { was[key] = leaf }
      var values: [Value] = []
      var keys: Set<String> = []
      for (key, leaf) in found.new {
        keys.insert(key)
        if was[key]?.value == leaf.value { continue }
        values.append(Value(key: key, old: was[key]?.shown, new: leaf.shown, isModelOnly: leaf.isModelOnly))
      }
      for (key, leaf) in found.old where !keys.contains(key) {
        values.append(Value(key: key, old: leaf.shown, new: nil, isModelOnly: leaf.isModelOnly))
      }
      if values.isEmpty { return nil }
      let kind: Kind = found.old.isEmpty ? .added : found.new.isEmpty ? .removed : .changed
      return Change(kind: kind, thing: found.thing, name: found.name, values: values)
    }
  }

  /// Which thing a value belongs to, by where it stands.
  private static func place(of path: [String]) -> (thing: String, name: String, key: String) {
    func key(_ count: Int) -> String { path.dropFirst(count).joined(separator: ".") }
    let names = [
      "services": "service", "stores": "store", "traffic": "traffic", "scenarios": "scenario", "jobs": "job",
      "queues": "queue", "topics": "topic", "streams": "stream", "sagas": "saga", "webhooks": "webhook",
    ]
    if path.count > 2, path[0] == "gateway", path[1] == "routes" { return ("route", path[2], key(3)) }
    if path.count > 1, let thing = names[path[0]] { return (thing, path[1], key(2)) }
    if path.count > 1 { return (path[0], "", key(1)) }
    return ("system", "", path.first ?? "")
  }

  /// The long form, flat; a list whose items are values is one value.
  private static func leaves(of design: Design) -> [Leaf] {
    let secrets = Secret.all(in: design).map(\.place)
    var all: [Leaf] = []
    func text(_ item: Effective) -> (value: String, shown: String) {
      guard case .value(let value) = item.content else { return ("", "") }
      guard let place = item.origin?.place, secrets.contains(place) else { return (value, value) }
      return (value, String(decoding: Secret.masked(value.utf8), as: UTF8.self))
    }
    func walk(_ item: Effective, _ path: [String]) {
      let path = item.key.isEmpty ? path : path + [item.key]
      switch item.content {
      case .value:
        let (value, shown) = text(item)
        all.append(Leaf(path: path, value: value, shown: shown, isModelOnly: item.isModelOnly))
      case .list(let items) where items.allSatisfy({ if case .value = $0.content { true } else { false } }):
        let texts = items.map(text)
        all.append(
          Leaf(
            path: path, value: "[\(texts.map(\.value).joined(separator: ", "))]",
            shown: "[\(texts.map(\.shown).joined(separator: ", "))]",
            isModelOnly: item.isModelOnly || items.contains(where: \.isModelOnly)))
      case .list(let items): for (index, child) in items.enumerated() { walk(child, path + ["\(index + 1)"]) }
      // A thing without keys is still there.
      case .map(let children) where children.isEmpty:
        all.append(Leaf(path: path + [""], value: "{}", shown: "{}", isModelOnly: item.isModelOnly))
      case .map(let children), .remark(let children): for child in children { walk(child, path) }
      }
    }
    // What the word at the top says of the language changes nothing.
    for item in design.effective where item.key != "weir" { walk(item, []) }
    return all
  }

  // MARK: - Effects

  /// A breaker whose settings have changed begins closed: `NodeFlows.moved`.
  private static func resetsBreakers(_ old: FlowPlan.Edge, _ new: FlowPlan.Edge) -> Bool {
    old.call.instanceBreakerResolved != new.call.instanceBreakerResolved
      || old.call.serviceBreaker != new.call.serviceBreaker
  }

  private static func effects(of change: Change, _ old: Plan, _ new: Plan, _ move: PlanMove) -> [String] {
    if !change.values.isEmpty && change.values.allSatisfy(\.isModelOnly) && change.kind == .changed {
      return ["only the forecast changes"]
    }
    switch change.thing {
    case "service": return service(change, old, new, move)
    case "route":
      switch change.kind {
      case .added: return ["answered from then on"]
      case .removed: return ["requests in work end; the next ones go where else they match, or get 404 no-route"]
      case .changed: return ["requests in work end by the old values; connections stay"]
      }
    case "gateway": return gateway(old, new)
    case "traffic", "scenario", "requirements", "accept": return ["only checks and forecasts change"]
    case "queue":
      switch change.kind {
      case .added: return ["takes messages from then on"]
      case .removed: return ["takes no more; messages that it has stay until they are purged"]
      case .changed: return ["messages stay; those in work end by the old values"]
      }
    case "store": return ["programs call stores by themselves: only what is given to them changes"]
    default: return []
    }
  }

  private static func service(_ change: Change, _ old: Plan, _ new: Plan, _ move: PlanMove) -> [String] {
    var effects: [String] = []
    let was = old.services.firstIndex { $0.name == change.name }
    let now = new.services.firstIndex { $0.name == change.name }
    switch (was, now) {
    case (nil, let now?) where new.isStarted(now):
      effects.append("\(count(new.flow.services[now].instances)) started")
    case (let was?, nil) where old.isStarted(was):
      effects.append("requests in work end, then \(count(old.flow.services[was].instances)) ended")
    case (let was?, let now?):
      let stays = move.instances[was].compactMap { $0 }.count
      let gone = old.flow.services[was].instances - stays
      let come = new.flow.services[now].instances - stays
      if gone > 0 {
        effects.append(
          "\(count(gone)) leave\(gone == 1 ? "s" : "") when \(gone == 1 ? "its" : "their") requests have ended")
      }
      if come > 0 {
        effects.append("\(count(come)) join\(come == 1 ? "s" : "") and begin\(come == 1 ? "s" : "") slowly")
      }
      if new.isStarted(now), old.isStarted(was), old.programText(of: was) != new.programText(of: now), stays > 0 {
        effects.append("\(count(stays)) restarted, one after the other, each when the one before is ready")
      }
      for (e, to) in move.edges.enumerated() where old.edges[e].callee == was {
        if let to, resetsBreakers(old.flow.edges[e], new.flow.edges[to]) {
          effects.append("the breakers of \(old.edges[e].name) begin closed")
        }
      }
      if effects.isEmpty { effects.append("no program is touched; what is known of its instances stays") }
    default: break
    }
    return effects
  }

  private static func count(_ instances: Int) -> String { "\(instances) instance\(instances == 1 ? "" : "s")" }

  private static func gateway(_ old: Plan, _ new: Plan) -> [String] {
    let (before, after) = (old.gateway?.listeners ?? [], new.gateway?.listeners ?? [])
    func text(_ listener: Plan.Listener) -> String { "\(listener.host):\(listener.port)" }
    var effects = after.filter { !before.contains($0) }.map { "\(text($0)) is opened first; taken, nothing changes" }
    effects += before.filter { !after.contains($0) }.map {
      "\(text($0)) is closed; its connections end after their answers"
    }
    return effects.isEmpty ? ["sockets and connections stay"] : effects
  }
}
