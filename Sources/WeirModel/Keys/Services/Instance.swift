// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
package import WeirPatterns

/// One of the instances that run elsewhere.
package struct Instance: Sendable, Equatable {
  package var address: Value<Text>
  package var weight = InstanceKeys.weight.initial
  package var zone: Value<String>?
  package var backup = InstanceKeys.backup.initial
  /// In the order of the file.
  package var labels: [Named<String>] = []
  /// How often its host is asked for its address, where that is a name.
  package var every = DiscoveryKeys.every.initial
  /// A name stands in the place of the address: its addresses are the instances.
  package var discovery: Discovery?
}

/// One entry of `at:`; an address alone is all that most need.
enum InstanceKeys {
  static let at = ScalarKey(
    "at", ScalarType<Text>.endpoint, "Where it listens; one of `at` and `dns`.", alias: ["address", "url", "host"])
  static let weight = ScalarKey(
    "weight", .count(1...1_000_000), default: 1, rule: "all take the same",
    "How much it takes beside the others: with 3 three times what one with 1 does.")
  static let zone = ScalarKey(
    "zone", .name, "Where it stands: a data centre, a room; see `zone` of `balance`.",
    alias: ["region", "locality"])
  static let backup = ScalarKey(
    "backup", .bool, default: false, rule: "all are asked",
    "It is asked only when no other serves, or when all others have been tried.", alias: ["spare", "standby"])

  static let part = Part<Instance>(
    "instance", "One of the instances that run elsewhere.", short: at.key,
    start: { layers, resolver in resolver.instance(layers) },
    [
      .custom(
        at.key, read: { _, resolver, instance in resolver.note(instance.address) },
        explain: { instance, _ in instance.discovery == nil ? [.leaf(at, instance.address)] : [] }),
      .custom(
        weight.key, read: { layers, _, instance in instance.weight = layers.valueOrInitial(weight) },
        explain: { instance, _ in instance.discovery == nil ? [.leaf(weight, instance.weight)] : [] }),
      .optional(zone, \.zone),
      .custom(
        backup.key, read: { layers, _, instance in instance.backup = layers.valueOrInitial(backup) },
        explain: { instance, _ in instance.discovery == nil ? [.leaf(backup, instance.backup)] : [] }),
      .named(LabelKeys.labels, .labelValue, \.labels),
    ] + DiscoveryKeys.fields)
  static let section = part.section
}

extension Instance {
  /// How its one address is followed.
  package var following: DiscoveredInstances.Settings {
    var settings = DiscoveredInstances.Settings()
    settings.every = every.value
    settings.most = 1
    return settings
  }
}

extension Service {
  /// Some instance is more than its address.
  private var hasDetails: Bool {
    listed.contains {
      $0.weight.value != 1 || $0.zone != nil || $0.backup.value || !$0.labels.isEmpty || $0.every.isWritten
        || $0.discovery != nil
    }
  }

  /// The lines of `at:`: addresses, or maps where there is more to say.
  func explainAddresses(_ design: Design) -> [Effective] {
    if listed.isEmpty { return [] }
    if !hasDetails {
      return [
        .list(ServiceKeys.at, listed.map { (ScalarType<Text>.endpoint.write($0.address.value), $0.address.origin) })
      ]
    }
    let items = listed.map { Effective(key: "", content: .map(InstanceKeys.part.explain($0, design))) }
    return [Effective(key: ServiceKeys.at.name, content: .list(items))]
  }

  /// What tells its instances apart, for the flows.
  var members: Members {
    var members = Members()
    members.isDiscovered = discovery != nil
    guard !listed.isEmpty, discovery == nil else { return members }
    let hash = KeyedHash(secret: 0x7765_6972, 0x696e_7374_616e_6365)
    var seen: [String: Int] = [:]
    members.identities = listed.map { instance in
      // What stands twice in the list is two instances.
      let text = instance.address.value.raw
      seen[text, default: 0] += 1
      return hash.hash("\(text) \(seen[text, default: 1])")
    }
    if listed.contains(where: { $0.weight.value != 1 }) { members.weights = listed.map(\.weight.value) }
    if listed.contains(where: \.backup.value) { members.backups = listed.map(\.backup.value) }
    // Those that stand nowhere are a zone of their own.
    let zones = zoneNames
    if !zones.isEmpty {
      members.zones = listed.map { instance in instance.zone.flatMap { zones.firstIndex(of: $0.value) } ?? zones.count }
      members.zone = balancing.zone.flatMap { zones.firstIndex(of: $0.value) }
    }
    return members
  }

  /// The zones of its instances, in the order of the file.
  package var zoneNames: [String] {
    listed.compactMap(\.zone?.value).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
