// SPDX-License-Identifier: Apache-2.0

/// The serving instances of each group: of a zone, or of those that bear given labels (a subset).
///
/// A balancer picks among a list of serving instances; a group is a shorter list. The lists are made when the set of
/// serving instances changes, not when a request asks, and a list that stays the same stays the same array, which a
/// keyed pick finds at once.
///
/// Source: Envoy's subset load balancer (`lb_subset_config`), fallback `ANY_ENDPOINT` or `NO_FALLBACK`.
///
/// ## Invariants
/// 1. A group's list is the serving list without those that are not of the group, in its order.
public struct InstanceGroups: Sendable, Equatable {
  /// What a request gets whose group has nothing that serves.
  public enum Fallback: UInt8, Sendable, Equatable, CaseIterable {
    /// Any instance that serves: a subset was a preference.
    case any
    /// Nothing: a wrong instance is worse than none.
    case none
  }

  public struct Settings: Sendable, Equatable {
    /// Nothing: who asks for a version means it, and Istio answers 503 as well.
    public var fallback = Fallback.none

    public init() {}
  }

  public struct Label: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Bits of `members[group]` by instance.
  private var members: [[UInt64]]
  private var lists: [[UInt16]]
  private var all: [UInt16] = []

  /// Groups by number, for zones: `groupOf[i]` is the group of instance i, or negative for none.
  public init(count: Int, groupOf: [Int]) {
    members = [[UInt64]](repeating: [UInt64](repeating: 0, count: (groupOf.count + 63) / 64), count: count)
    lists = [[UInt16]](repeating: [], count: count)
    for (index, group) in groupOf.enumerated() where group >= 0 && group < count {
      members[group][index >> 6] |= 1 << UInt64(index & 63)
    }
  }

  /// Groups by labels: to a group belong the instances that bear all of its labels; one instance may be in several.
  public init(subsets: [[Label]], labels: [[Label]]) {
    members = [[UInt64]](repeating: [UInt64](repeating: 0, count: (labels.count + 63) / 64), count: subsets.count)
    lists = [[UInt16]](repeating: [], count: subsets.count)
    for (group, wanted) in subsets.enumerated() {
      for (index, own) in labels.enumerated() where wanted.allSatisfy(own.contains) {
        members[group][index >> 6] |= 1 << UInt64(index & 63)
      }
    }
  }

  // MARK: Questions

  public var count: Int { members.count }

  /// Whether an instance belongs to a group, serving or not.
  public func holds(_ index: Int, group: Int) -> Bool { members[group][index >> 6] & 1 << UInt64(index & 63) != 0 }

  /// The instances of a group that serve, for the balancer's `serving`; empty if none does and there is no fallback.
  public func serving(_ group: Int, or fallback: Fallback = .none) -> [UInt16] {
    lists[group].isEmpty && fallback == .any ? all : lists[group]
  }

  /// All that serve, of whatever group.
  public var serving: [UInt16] { all }

  // MARK: Inputs

  /// These serve from now on.
  public mutating func update(serving: [UInt16]) {
    if serving == all { return }
    all = serving
    for group in lists.indices {
      let list = serving.filter { holds(Int($0), group: group) }
      if list != lists[group] { lists[group] = list }
    }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for group in lists.indices where lists[group] != all.filter({ holds(Int($0), group: group) }) {
      return "group \(group) lists \(lists[group])"
    }
    return nil
  }
}
