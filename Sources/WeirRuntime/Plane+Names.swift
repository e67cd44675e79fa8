// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Instances that a name says: asked beside everything else, for the system's resolver blocks for as long as it likes.
extension Plane {
  /// A service whose instances a name says.
  struct Discovering: Sendable {
    var service: String
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
      if let kept = old.first(where: { $0.service == service && $0.text == text && $0.most == discovery.most.value }) {
        var moved = kept
        moved.value = kept.value.moved(to: discovery.settings)
        (moved.host, moved.port) = name
        return moved
      }
      return Discovering(
        service: service, text: text, most: discovery.most.value, host: name.host, port: name.port, value: made)
    }
  }

  /// Asks every name that is due.
  func askNames() {
    let now = SystemClock.now()
    for i in discovering.indices {
      guard !isDraining, let wake = discovering[i].value.nextWake, wake <= now else { continue }
      let (service, text, host, port) =
        (discovering[i].service, discovering[i].text, discovering[i].host, discovering[i].port)
      let send = send
      do {
        try SystemThread.start {
          do {
            let found = try Resolving.addresses(of: host)
            let all = found.map { $0.contains(":") ? "[\($0)]:\(port)" : "\($0):\(port)" }
            send.yield(.resolved(NameAnswer(service: service, text: text, addresses: all)))
          } catch {
            send.yield(.resolved(NameAnswer(service: service, text: text, addresses: nil, failure: "\(error)")))
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
    guard let i = discovering.firstIndex(where: { $0.service == answer.service && $0.text == answer.text }),
      let service = plan.services.firstIndex(where: { $0.name == answer.service })
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
            + (held == 0 ? "there is no instance" : "its \(held) last known stay"))
        tell([Event(.nameUnresolved, at: now, service: UInt32(service))])
      }
      return await sayWhenReady()
    }
    let outcome = discovering[i].value.answered(addresses, now: now, using: &random)
    if outcome.isBack { tell([Event(.nameResolved, at: now, service: UInt32(service))]) }
    if outcome.leftOut > 0, !discovering[i].hasTold {
      journal.say(
        "'\(answer.text)' has \(addresses.count) addresses, and '\(answer.service)' takes \(discovering[i].most): "
          + "\(outcome.leftOut) left out")
    }
    discovering[i].hasTold = outcome.leftOut > 0
    for change in outcome.changes { await carryOut(change, service) }
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
    for entry in discovering { all[entry.service] = entry.value.addresses.compactMap { $0 } }
    return all
  }

  /// Goes on with what the plane before this one knew, until the names have been asked anew.
  func inherit(discovered: [String: [String]]) async {
    for entry in discovering where !entry.value.isSettled {
      guard let addresses = discovered[entry.service], !addresses.isEmpty else { continue }
      await take(NameAnswer(service: entry.service, text: entry.text, addresses: addresses))
    }
  }

  /// Places for which no name has an address.
  func markVacant() {
    for entry in discovering {
      guard let service = plan.services.firstIndex(where: { $0.name == entry.service }) else { continue }
      for (place, address) in entry.value.addresses.enumerated() where states[service].indices.contains(place) {
        states[service][place].isVacant = address == nil
      }
    }
  }
}
