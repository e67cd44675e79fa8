// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Instances that a name says: asked beside everything else, for the system's resolver blocks for as long as it likes.
extension Plane {
  /// A service whose instances a name says, or one instance whose host is a name.
  struct Discovering: Sendable {
    var service: String
    /// The place of the one instance; nil: the name says all of them.
    var instance: Int?
    /// As the file writes it.
    var text: String
    var most: Int
    var host: String
    var port: Int
    var value: DiscoveredInstances
    var hasTold = false
  }

  /// What the resolver says.
  struct NameAnswer: Sendable {
    var service: String
    /// As of the question; its text says more, for numbers change with the file.
    var isOne: Bool
    var text: String
    /// Nil when it has none.
    var addresses: [String]?
    var failure = ""
  }

  /// For a plan; what stays keeps its places.
  func discovering(for plan: Plan, keeping old: [Discovering]) -> [Discovering] {
    plan.services.indices.compactMap { index in
      guard let discovery = plan.discovery(index), let name = try? Translation.name(of: discovery, plan) else {
        return nil
      }
      let service = plan.services[index].name
      let text = discovery.name.value.raw
      let made = DiscoveredInstances(discovery.settings, now: SystemClock.now())
      if let kept = old.first(where: {
        $0.instance == nil && $0.service == service && $0.text == text && $0.most == discovery.most.value
      }) {
        var moved = kept
        moved.value = kept.value.moved(to: discovery.settings)
        (moved.host, moved.port) = name
        return moved
      }
      return Discovering(
        service: service, text: text, most: discovery.most.value, host: name.host, port: name.port, value: made)
    }
  }

  /// Begins to follow the hosts of listed instances that are names, from where the proxy has found them; those that are
  /// followed already go on.
  func followHosts() async {
    let old = discovering.filter { $0.instance != nil }
    discovering.removeAll { $0.instance != nil }
    for (index, service) in plan.design.services.enumerated() where service.discovery == nil {
      for (place, instance) in service.listed.enumerated() {
        guard let (host, port) = Translation.host(of: instance, plan), !Resolving.isNumber(host) else { continue }
        let name = plan.services[index].name
        let text = instance.address.value.raw
        if var kept = old.first(where: { $0.service == name && $0.text == text }) {
          kept.value = kept.value.moved(to: instance.following)
          kept.instance = place
          discovering.append(kept)
          continue
        }
        let now = SystemClock.now()
        let value: DiscoveredInstances
        if let held = await server?.address(service: index, instance: place) {
          value = DiscoveredInstances(instance.following, holding: held, now: now, using: &random)
        } else {
          // What could not be resolved is asked at once.
          value = DiscoveredInstances(instance.following, now: now)
        }
        discovering.append(
          Discovering(service: name, instance: place, text: text, most: 1, host: host, port: port, value: value))
      }
    }
  }

  /// Asks every name that is due.
  func askNames() {
    let now = SystemClock.now()
    for i in discovering.indices {
      guard !isDraining, let wake = discovering[i].value.nextWake, wake <= now else { continue }
      let (service, text, host, port) =
        (discovering[i].service, discovering[i].text, discovering[i].host, discovering[i].port)
      let isOne = discovering[i].instance != nil
      let send = send
      do {
        try SystemThread.start {
          do {
            let found = try Resolving.addresses(of: host)
            let all = found.map { $0.contains(":") ? "[\($0)]:\(port)" : "\($0):\(port)" }
            send.yield(.resolved(NameAnswer(service: service, isOne: isOne, text: text, addresses: all)))
          } catch {
            send.yield(
              .resolved(
                NameAnswer(service: service, isOne: isOne, text: text, addresses: nil, failure: "\(error)")))
          }
        }
        discovering[i].value.asked()
      } catch {
        // No thread can be had: later.
        discovering[i].value.failed(now: now, using: &random)
      }
    }
  }

  func take(_ answer: NameAnswer) async {
    let asked = discovering.firstIndex {
      $0.service == answer.service && $0.text == answer.text && ($0.instance != nil) == answer.isOne
    }
    guard let i = asked, let service = plan.services.firstIndex(where: { $0.name == answer.service })
    else { return }
    let now = SystemClock.now()
    guard let addresses = answer.addresses, !addresses.isEmpty else {
      let isFirst = discovering[i].value.failures == 0
      discovering[i].value.failed(now: now, using: &random)
      if isFirst {
        let held = discovering[i].value.count
        let why = answer.failure.isEmpty ? "it has no address" : answer.failure
        journal.say(
          "'\(answer.text)' of '\(answer.service)' cannot be resolved: \(why); "
            + Plane.remains(held, ofOne: answer.isOne))
        tell([Event(.nameUnresolved, at: now, service: UInt32(service))])
      }
      return await sayWhenReady()
    }
    let outcome = discovering[i].value.answered(addresses, now: now, using: &random)
    if outcome.isBack { tell([Event(.nameResolved, at: now, service: UInt32(service))]) }
    if let place = discovering[i].instance { return await follow(outcome.changes, service, place, discovering[i]) }
    if outcome.leftOut > 0, !discovering[i].hasTold {
      journal.say(
        "'\(answer.text)' has \(addresses.count) addresses, and '\(answer.service)' takes \(discovering[i].most): "
          + "\(outcome.leftOut) left out")
    }
    discovering[i].hasTold = outcome.leftOut > 0
    for change in outcome.changes { await carryOut(change, service) }
    await sayWhenReady()
  }

  /// What is left when a name has no answer.
  private static func remains(_ held: Int, ofOne isOne: Bool) -> String {
    if isOne { return held == 0 ? "it has no address" : "its last known address stays" }
    return held == 0 ? "there is no instance" : "its \(held) last known stay"
  }

  /// The host of one instance has another address, if it has.
  private func follow(
    _ changes: [DiscoveredInstances.Change], _ service: Int, _ place: Int, _ entry: Discovering
  ) async {
    for change in changes {
      guard case .joined(_, let address) = change, states[service].indices.contains(place) else { continue }
      if plan.isAsked(service) { states[service][place].isReady = false }
      let number = address.dropLast(":\(entry.port)".count)
      let host = number.hasPrefix("[") ? String(number.dropFirst().dropLast()) : String(number)
      await server?.moved(
        service: service, instance: place, to: .known(host: entry.host, address: host, port: entry.port),
        isAsked: plan.isAsked(service))
      journal.say("\(entry.service)-\(place + 1): \(entry.host) is at \(address) now")
    }
    await sayWhenReady()
  }

  private func carryOut(_ change: DiscoveredInstances.Change, _ service: Int) async {
    switch change {
    case .joined(let place, let address):
      guard states[service].indices.contains(place), let colon = address.lastIndex(of: ":"),
        let port = Int(address[address.index(after: colon)...])
      else { return }
      let host = address[..<colon]
      states[service][place] = InstanceState()
      states[service][place].address = address
      states[service][place].isReady = !plan.isAsked(service)
      states[service][place].wasReady = states[service][place].isReady
      await server?.occupy(
        service: service, instance: place,
        at: .tcp(host: host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : String(host), port: port),
        isAsked: plan.isAsked(service))
      journal.say("\(plan.services[service].name)-\(place + 1) joins at \(address)")
    case .left(let place, let address):
      guard states[service].indices.contains(place) else { return }
      states[service][place] = InstanceState()
      states[service][place].isVacant = true
      await server?.vacate(service: service, instance: place)
      journal.say("\(plan.services[service].name)-\(place + 1) at \(address) is gone: it ends what it has")
    }
  }

  /// By service: the addresses that its name had last.
  var discovered: [String: [String]] {
    var all: [String: [String]] = [:]
    for entry in discovering where entry.instance == nil {
      all[entry.service] = entry.value.addresses.compactMap { $0 }
    }
    return all
  }

  /// Goes on with what the plane before this one knew, until the names have been asked anew.
  func inherit(discovered: [String: [String]]) async {
    for entry in discovering where entry.instance == nil && !entry.value.isSettled {
      guard let addresses = discovered[entry.service], !addresses.isEmpty else { continue }
      await take(NameAnswer(service: entry.service, isOne: false, text: entry.text, addresses: addresses))
    }
  }

  /// Places for which no name has an address.
  func markVacant() {
    for entry in discovering where entry.instance == nil {
      guard let service = plan.services.firstIndex(where: { $0.name == entry.service }) else { continue }
      for (place, address) in entry.value.addresses.enumerated() where states[service].indices.contains(place) {
        states[service][place].isVacant = address == nil
      }
    }
  }
}
