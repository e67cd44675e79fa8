// SPDX-License-Identifier: Apache-2.0
package import WeirPatterns

/// A name whose addresses are the instances of a service.
package struct Discovery: Sendable, Equatable {
  package var name: Value<Text>
  package var every = DiscoveryKeys.every.initial
  package var most = DiscoveryKeys.most.initial

  package var settings: DiscoveredInstances.Settings {
    var settings = DiscoveredInstances.Settings()
    settings.every = every.value
    settings.most = most.value
    return settings
  }
}

/// The keys of an entry of `at:` that names all instances at once.
enum DiscoveryKeys {
  private static let standard = DiscoveredInstances.Settings()

  static let dns = ScalarKey(
    "dns", ScalarType<Text>.endpoint,
    "A name and a port: its addresses are the instances, and it is asked again and again.",
    alias: ["srv", "hostname", "resolve"])
  static let every = ScalarKey(
    "every", .duration(), default: standard.every, rule: "instances.every (what resolvers hold an answer for)",
    "How often the name is asked, of `dns` or of an address whose host is a name.", alias: ["refresh", "ttl"])
  static let most = ScalarKey(
    "most", .count(1...1000), default: standard.most, rule: "instances.most",
    "How many instances the name may have; what it has beyond is left out.", alias: ["max"])

  static let fields: [Field<Instance>] = [
    .custom(
      dns.key,
      explain: { instance, _ in
        instance.discovery.map { [.leaf(dns, $0.name)] } ?? []
      }),
    .custom(
      every.key,
      read: { layers, _, instance in
        instance.every = layers.valueOrInitial(every)
        instance.discovery?.every = instance.every
      }, explain: { instance, _ in instance.isAsked ? [.leaf(every, instance.every)] : [] }),
    .custom(
      most.key, read: { layers, _, instance in instance.discovery?.most = layers.valueOrInitial(most) },
      explain: { instance, _ in instance.discovery.map { [.leaf(most, $0.most)] } ?? [] }),
  ]
}

extension Instance {
  /// Its host is a name, or may be one: what a reference stands for is known in a run only.
  var isAsked: Bool {
    if discovery != nil { return true }
    let text = address.value.raw
    let host = text.prefix(upTo: text.lastIndex(of: ":") ?? text.endIndex)
    return !host.hasPrefix("[") && host.contains { !$0.isNumber && $0 != "." }
  }
}

extension Service {
  /// The name that says where its instances are; nil where the file does.
  package var discovery: Discovery? { listed.first?.discovery }
}

extension Resolver {
  /// One entry of `at:`; what its keys say together.
  mutating func instance(_ layers: Layers) -> Instance? {
    let address = layers.value(InstanceKeys.at)
    guard let name = layers.value(DiscoveryKeys.dns) else {
      let instance = address.map { Instance(address: $0) }
      for written in [
        instance?.isAsked == false ? layers.value(DiscoveryKeys.every)?.place : nil,
        layers.value(DiscoveryKeys.most)?.place,
      ] {
        guard let written, instance != nil else { continue }
        mistake("conflict", "only a name that is asked has this key", at: written, mend: "dns: \"api.internal:8080\"")
      }
      if address == nil, let place = layers.place, layers.node(InstanceKeys.at.key) == nil,
        layers.node(DiscoveryKeys.dns.key) == nil
      {
        mistake(
          "missing-key", "an instance has neither 'at' nor 'dns'", at: place, spot: place.value,
          why: "where it listens", mend: "at: db1:5432")
      }
      return instance
    }
    note(name)
    let others = [
      InstanceKeys.at.key, InstanceKeys.weight.key, InstanceKeys.zone.key, InstanceKeys.backup.key, LabelKeys.labels,
    ]
    for key in others {
      guard let node = layers.node(key) else { continue }
      mistake(
        "conflict", "'\(key.name)' is of one instance, and 'dns' names all of them", at: node.place,
        spot: node.place.value, mend: "leave '\(key.name)' out")
    }
    return Instance(address: name, discovery: Discovery(name: name))
  }
}
