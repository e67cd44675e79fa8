// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// Which instances of a service may be asked: those that bear all of these labels.
///
/// It stands where somebody calls (a route, one of a route's targets, a mirror, an entry of `calls`), as `subset` of a
/// destination does in Istio's VirtualService, but with the labels themselves: a name for them would be a second place to
/// look at.
package struct Subset: Sendable, Equatable {
  package enum Fallback: String, Sendable, CaseIterable { case none, any }

  package var place: Place
  /// In the order of their names.
  package var labels: [Named<String>]
  package var fallback = LabelKeys.fallback.initial

  /// `version=v2`; the same text is the same subset.
  package var text: String {
    labels.map { "\($0.name)=\($0.value.value)" }.joined(separator: ",") + (fallback.value == .any ? " or any" : "")
  }

  var groups: [InstanceGroups.Label] { labels.map { .init($0.name, $0.value.value) } }
}

/// `labels:` of an instance; `subset:` and `subset-fallback:` of who calls.
enum LabelKeys {
  static let labels = Key(
    "labels", .named(.plain("a label"), .scalar(.labelValue)),
    "What it is marked with; a `subset` names who is asked by it.", alias: ["tags", "metadata"])
  static let subset = Key(
    "subset", .named(.plain("a label"), .scalar(.labelValue)),
    "Only instances that bear all of these labels are asked: `{ version: v2 }`.", alias: ["match-labels", "selector"])
  static let fallback = ScalarKey(
    "subset-fallback", ScalarType<Subset.Fallback>.word,
    default: InstanceGroups.Settings().fallback == .any ? Subset.Fallback.any : .none, rule: "subset-fallback",
    "When none of the subset is up: `none` refuses with `subset-empty`, `any` asks all instances.")

  /// The two keys of who calls.
  static func fields<Root>(_ way: Way<Root, Subset?>) -> [Field<Root>] {
    [
      .custom(
        subset,
        read: { layers, resolver, root in
          guard let node = layers.node(subset) else { return }
          let labels = node.entries.compactMap { entry in
            Fields.value(entry.value, .labelValue).map { Named(name: entry.key, value: $0) }
          }
          // What is wrong with a label was said.
          if labels.count < node.entries.count { return }
          if labels.isEmpty {
            resolver.mistake(
              "wrong-value", "a subset names at least one label", at: node.place, spot: node.place.value,
              mend: "subset: { version: v2 }")
            return
          }
          root[keyPath: way] = Subset(place: node.place, labels: labels.sorted { $0.name < $1.name })
        },
        explain: { root, _ in root[keyPath: way].map { [$0.explained] } ?? [] }),
      .custom(
        fallback.key,
        read: { layers, resolver, root in
          guard let written = layers.value(fallback) else { return }
          if root[keyPath: way] != nil {
            root[keyPath: way]?.fallback = written
          } else if layers.node(subset) == nil {
            resolver.mistake(
              "conflict", "nothing falls back: there is no 'subset'", at: written, mend: "subset: { version: v2 }")
          }
        },
        explain: { root, _ in root[keyPath: way].map { [.leaf(fallback, $0.fallback)] } ?? [] }),
    ]
  }
}

extension Subset {
  fileprivate var explained: Effective {
    let lines = labels.map {
      Effective(
        key: $0.name, content: .value(ScalarType<String>.labelValue.write($0.value.value)), origin: $0.value.origin)
    }
    return .map(LabelKeys.subset, lines)
  }
}

extension ScalarType where T == String {
  /// A label's value; as in Kubernetes, so that what stands there can stand here.
  static var labelValue: ScalarType {
    .text("a label's value", example: "v2", pattern: "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$") { text in
      let isFine =
        (1...63).contains(text.utf8.count)
        && text.utf8.allSatisfy {
          (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || "-._".utf8.contains($0)
        } && !"-._".utf8.contains(text.utf8.first ?? 0) && !"-._".utf8.contains(text.utf8.last ?? 0)
      return isFine
        ? nil
        : "a label's value has letters, digits, dashes, dots and _, at most 63, and a letter or digit at both ends"
    }
  }
}

extension Service {
  /// The instances that a subset holds, for the flows.
  ///
  /// What Weir starts, and what a name says, is all alike and bears no labels.
  func compiled(_ subset: Subset) -> FlowPlan.Subset {
    let labels = listed.map { instance in instance.labels.map { InstanceGroups.Label($0.name, $0.value.value) } }
    let count = discovery?.most.value ?? instances.value
    let groups = InstanceGroups(
      subsets: [subset.groups], labels: labels.count == count ? labels : Array(repeating: [], count: count))
    return FlowPlan.Subset(
      groups, group: 0, instances: count, fallback: subset.fallback.value == .any ? .any : .none)
  }

  /// How many instances bear all labels of a subset.
  package func count(of subset: Subset) -> Int { compiled(subset).holds.count { $0 } }
}
