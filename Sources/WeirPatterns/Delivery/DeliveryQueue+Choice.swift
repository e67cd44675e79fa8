// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// Which one goes next: lanes show their next message to the flows, the flows of a priority take turns.
extension DeliveryQueue {
  /// The flow whose turn it is at the highest priority at which anything may go.
  func nextFlow() -> Int32? {
    var priority = Int(Entry.priorityMax)
    while priority >= 0 {
      let flow = turns[priority].first
      if flow >= 0 { return flow }
      priority -= 1
    }
    return nil
  }

  /// The flow's first message leaves the ones that wait; its tenant goes to the end of the turns.
  ///
  /// It is without a state afterwards, and its lane shows none: that is arranged when it holds its place.
  mutating func take(from flow: Int32) -> Int32 {
    let index = flows[flow].tree.first
    leaveTurns(flow)
    uproot(index, fromFlow: flow)
    if flows[flow].tree.first >= 0 { joinTurns(flow) }
    messages[index].isNext = false
    counts.waiting -= 1
    delist(index)
    let lane = messages[index].lane
    if lane >= 0 { lanes[lane].next = -1 }
    return index
  }

  /// The lane shows the first of those that wait to its flow if one more of its key may go, and only then.
  mutating func arrange(_ lane: Int32) {
    let shown = lanes[lane].next
    let first = lanes[lane].tree.first
    if lanes[lane].held >= Int32(clamping: max(1, settings.keyAtOnce)) {
      if shown >= 0 { withdraw(shown, lane) }
      return
    }
    if first < 0 || (shown >= 0 && !isBefore(first, shown, byID: false)) { return }
    uproot(first, fromLane: lane)
    counts.blocked -= 1
    // Shown before the other is withdrawn: if both are the same tenant's, it keeps its turn.
    show(first)
    lanes[lane].next = first
    if shown >= 0 { withdraw(shown, lane, replaced: true) }
  }

  private mutating func withdraw(_ shown: Int32, _ lane: Int32, replaced: Bool = false) {
    hide(shown)
    counts.blocked += 1
    plant(shown, inLane: lane)
    if !replaced { lanes[lane].next = -1 }
  }

  /// A message may go: it is in its flow's tree.
  mutating func show(_ index: Int32) {
    messages[index].isNext = true
    let flow = messages[index].flow
    var tree = flows[flow].tree
    let wasEmpty = tree.first < 0
    insert(index, into: &tree, byID: true)
    flows[flow].tree = tree
    if wasEmpty { joinTurns(flow) }
  }

  /// A message may no longer go.
  mutating func hide(_ index: Int32) {
    messages[index].isNext = false
    let flow = messages[index].flow
    uproot(index, fromFlow: flow)
    if flows[flow].tree.first < 0 { leaveTurns(flow) }
  }

  mutating func plant(_ index: Int32, inLane lane: Int32) {
    var tree = lanes[lane].tree
    insert(index, into: &tree, byID: false)
    lanes[lane].tree = tree
  }

  mutating func uproot(_ index: Int32, fromLane lane: Int32) {
    var tree = lanes[lane].tree
    remove(index, from: &tree)
    lanes[lane].tree = tree
  }

  private mutating func uproot(_ index: Int32, fromFlow flow: Int32) {
    var tree = flows[flow].tree
    remove(index, from: &tree)
    flows[flow].tree = tree
  }

  // MARK: Turns

  private mutating func joinTurns(_ flow: Int32) {
    let priority = Int(flows[flow].key.priority)
    let last = turns[priority].last
    flows[flow].previous = last
    flows[flow].following = -1
    if last >= 0 { flows[last].following = flow } else { turns[priority].first = flow }
    turns[priority].last = flow
  }

  private mutating func leaveTurns(_ flow: Int32) {
    let priority = Int(flows[flow].key.priority)
    let previous = flows[flow].previous
    let following = flows[flow].following
    if previous >= 0 { flows[previous].following = following } else { turns[priority].first = following }
    if following >= 0 { flows[following].previous = previous } else { turns[priority].last = previous }
  }

  // MARK: Trees

  /// A treap over the messages' own links; the ends are known, so first in, first out costs no descent.
  ///
  /// Source: Seidel and Aragon, *Randomized Search Trees*, Algorithmica 16 (1996). The weight is a hash of the id. Arrays as
  /// heaps, one a key, were ruled out: a million keys would be a million allocations.
  struct Tree: Sendable, Equatable, BitwiseCopyable {
    var root: Int32 = -1
    var first: Int32 = -1
    var last: Int32 = -1
  }

  /// Whether `a` goes before `b`: of a flow the lower id; of a lane who has begun before the others, these by id, the
  /// others by when they were due.
  func isBefore(_ a: Int32, _ b: Int32, byID: Bool) -> Bool {
    if !byID {
      let isRetriedA = messages[a].hasBegun
      let isRetriedB = messages[b].hasBegun
      if isRetriedA != isRetriedB { return isRetriedA }
      if !isRetriedA && messages[a].due != messages[b].due { return messages[a].due < messages[b].due }
    }
    return messages[a].id < messages[b].id
  }

  private func weight(_ index: Int32) -> UInt64 { DeliveryQueue.mixed(UInt64(bitPattern: messages[index].id)) }

  private mutating func insert(_ index: Int32, into tree: inout Tree, byID: Bool) {
    messages[index].left = -1
    messages[index].right = -1
    messages[index].parent = -1
    if tree.root < 0 {
      tree = Tree(root: index, first: index, last: index)
      return
    }
    if !isBefore(index, tree.last, byID: byID) {
      messages[tree.last].right = index
      messages[index].parent = tree.last
      tree.last = index
    } else if isBefore(index, tree.first, byID: byID) {
      messages[tree.first].left = index
      messages[index].parent = tree.first
      tree.first = index
    } else {
      var at = tree.root
      while true {
        let isLeft = isBefore(index, at, byID: byID)
        let child = isLeft ? messages[at].left : messages[at].right
        if child < 0 {
          if isLeft { messages[at].left = index } else { messages[at].right = index }
          messages[index].parent = at
          break
        }
        at = child
      }
    }
    let own = weight(index)
    while case let parent = messages[index].parent, parent >= 0, own < weight(parent) { lift(index, in: &tree) }
  }

  private mutating func remove(_ index: Int32, from tree: inout Tree) {
    if tree.first == index { tree.first = neighbour(index, after: true) }
    if tree.last == index { tree.last = neighbour(index, after: false) }
    while case let (left, right) = (messages[index].left, messages[index].right), left >= 0, right >= 0 {
      lift(weight(left) < weight(right) ? left : right, in: &tree)
    }
    let child = max(messages[index].left, messages[index].right)
    let parent = messages[index].parent
    if child >= 0 { messages[child].parent = parent }
    replace(index, by: child, below: parent, in: &tree)
  }

  /// The one after or before in the tree's order, or -1.
  func neighbour(_ index: Int32, after: Bool) -> Int32 {
    var at = after ? messages[index].right : messages[index].left
    if at >= 0 {
      while case let child = after ? messages[at].left : messages[at].right, child >= 0 { at = child }
      return at
    }
    at = index
    while case let parent = messages[at].parent, parent >= 0 {
      if (after ? messages[parent].left : messages[parent].right) == at { return parent }
      at = parent
    }
    return -1
  }

  /// Turns the edge to its parent around.
  private mutating func lift(_ index: Int32, in tree: inout Tree) {
    let parent = messages[index].parent
    let grand = messages[parent].parent
    let moved: Int32
    if messages[parent].left == index {
      moved = messages[index].right
      messages[parent].left = moved
      messages[index].right = parent
    } else {
      moved = messages[index].left
      messages[parent].right = moved
      messages[index].left = parent
    }
    if moved >= 0 { messages[moved].parent = parent }
    messages[parent].parent = index
    messages[index].parent = grand
    replace(parent, by: index, below: grand, in: &tree)
  }

  private mutating func replace(_ index: Int32, by other: Int32, below parent: Int32, in tree: inout Tree) {
    if parent < 0 {
      tree.root = other
    } else if messages[parent].left == index {
      messages[parent].left = other
    } else {
      messages[parent].right = other
    }
  }
}
