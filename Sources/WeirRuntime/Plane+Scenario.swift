// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirModel
import WeirPlatform
import WeirProxy
import WeirTelemetry

extension Translation {
  /// A scenario's faults on messages; nil where none is to be played.
  static func road(
    _ plan: Plan, settings: RunSettings, now: Instant, wall: WallTime
  ) throws(PlaneError) -> MessageRoad? {
    guard let name = settings.scenario else { return nil }
    guard let scenario = plan.design.scenario(named: name) else {
      throw PlaneError("there is no scenario '\(name)' any more")
    }
    if let first = scenario.unplayable.first { throw PlaneError(first.message) }
    // A plane that comes again goes on where the story is by now.
    let passed = max(0, wall.milliseconds - settings.scenarioBegan)
    func at(_ after: Duration) -> Instant {
      now.advanced(by: after.inNanoseconds).advanced(by: -passed * 1_000_000)
    }
    let faults = scenario.faults.compactMap { fault -> MessageFaults.Fault? in
      let (kind, messages, by): (MessageFaults.Kind, Fault.Messages, Value<Duration>)
      switch fault.kind {
      case .delay(let some, by: let time): (kind, messages, by) = (.delay, some, time)
      case .double(let some, by: let time): (kind, messages, by) = (.double, some, time)
      case .kill, .slow, .fail: return nil
      }
      let end = min(scenario.length.value, fault.length.map { fault.when.value + $0.value } ?? scenario.length.value)
      var made = MessageFaults.Fault(
        kind, to: plan.design.name(of: messages.to.value).text,
        from: messages.from.map { plan.design.services[$0.value].name.text }, by: by.value,
        begins: at(fault.when.value),
        ends: at(end))
      made.share = messages.share.value
      made.count = messages.count?.value ?? .max
      return made
    }
    return MessageRoad(MessageFaults(faults))
  }
}

extension Plane {
  func sayScenario() {
    guard let name = settings.scenario, let road else { return }
    let count = road.played.count
    journal.say("plays '\(name)': \(count) fault\(count == 1 ? "" : "s") on messages, as simulate does")
  }

  /// How many messages a scenario's faults have hit, for metrics.
  func scenarioFamilies() -> [Snapshot.Family] {
    guard let road else { return [] }
    var hit = Snapshot.Family(
      "weir_fault_messages_total", .counter, "Messages that a fault of the played scenario has delayed or doubled.")
    for (fault, hits) in road.played {
      hit.add(
        [
          (name: "fault", value: fault.kind.rawValue), (name: "to", value: fault.to),
          (name: "from", value: fault.from ?? ""),
        ], Double(hits))
    }
    return [hit]
  }
}
