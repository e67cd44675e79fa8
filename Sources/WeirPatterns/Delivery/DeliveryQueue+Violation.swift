// SPDX-License-Identifier: Apache-2.0
import WeirBase

extension DeliveryQueue {
  /// What is wrong with this state, or nil; looks at everything.
  public func violation() -> String? {
    if counts.waiting + counts.delayed + counts.inFlight != messages.count {
      return "\(counts) of \(messages.count) messages"
    }
    var seen = Readings()
    var lanesOf: [Int32: (held: Int32, members: Int32)] = [:]
    var membersOf: [Int32: Int32] = [:]
    for index in messages.places() {
      let message = messages[index]
      if messages.find(message.id) != index { return "\(message.id) is not found" }
      seen.bytes += Int(message.bytes)
      if message.givenBack > message.attempts { return "\(message.id) was given back more often than leased" }
      if let wrong = timerViolation(index) { return wrong }
      let holds = message.state == .inFlight || message.isRetry
      if message.lane >= 0 {
        lanesOf[message.lane, default: (0, 0)].members += 1
        if holds { lanesOf[message.lane, default: (0, 0)].held += 1 }
      }
      membersOf[message.flow, default: 0] += 1
      switch message.state {
      case .inFlight: seen.inFlight += 1
      case .delayed:
        seen.delayed += 1
        if message.isRetry { seen.retrying += 1 }
      case .waiting:
        seen.waiting += 1
        if !message.isNext { seen.blocked += 1 }
        if message.lane < 0 && !message.isNext { return "\(message.id) has no key and may not go" }
      }
      if message.state != .waiting && message.isNext { return "\(message.id) is next and does not wait" }
      if message.state != .delayed && message.isRetry { return "\(message.id) is a retry and is not delayed" }
      if message.state == .inFlight && message.hasLapsed { return "\(message.id) is leased by one whose time is over" }
    }
    if seen != counts { return "counted \(counts), there are \(seen)" }
    if timers.contains(where: { messages[$0.message].timer < 0 }) { return "a timer of nobody" }
    return listViolation() ?? lanesViolation(lanesOf) ?? flowsViolation(membersOf)
  }

  private func timerViolation(_ index: Int32) -> String? {
    let message = messages[index]
    let due =
      switch message.state {
      case .inFlight: message.until
      case .delayed: min(message.due, message.expires)
      case .waiting: message.expires
      }
    let place = Int(message.timer)
    if due == .max { return place < 0 ? nil : "\(message.id) has a timer for never" }
    if place < 0 || place >= timers.count || timers[place].message != index || timers[place].at != due {
      return "\(message.id) has no timer for \(due)"
    }
    if place > 0 {
      let parent = timers[(place - 1) / 4]
      let isLate = parent.at > due || (parent.at == due && messages[parent.message].id > message.id)
      if isLate { return "the timer of \(message.id) stands below a later one" }
    }
    return nil
  }

  private func listViolation() -> String? {
    var count = 0
    var older: Int32 = -1
    var index = longest
    while index >= 0 {
      count += 1
      if count > counts.waiting { return "more are in the list of those that wait than wait" }
      if messages[index].state != .waiting || messages[index].older != older { return "the list of those that wait" }
      older = index
      index = messages[index].newer
    }
    return count == counts.waiting && newest == older ? nil : "\(count) of \(counts.waiting) are in the list"
  }

  private func lanesViolation(_ lanesOf: [Int32: (held: Int32, members: Int32)]) -> String? {
    var blocked = 0
    for index in lanes.places() {
      let lane = lanes[index]
      guard let seen = lanesOf[index], seen.held == lane.held, seen.members == lane.members else {
        return "key \(lane.key): \(lane.members) messages, \(lane.held) hold it"
      }
      let isOpen = lane.held < Int32(clamping: max(1, settings.keyAtOnce))
      if lane.next >= 0 {
        if !isOpen { return "key \(lane.key) is taken and shows one" }
        let next = messages[lane.next]
        if !next.isNext || next.lane != index { return "key \(lane.key) shows another's" }
        if lane.tree.first >= 0, isBefore(lane.tree.first, lane.next, byID: false) {
          return "key \(lane.key) shows one that is not its first"
        }
      } else if isOpen && lane.tree.first >= 0 {
        return "key \(lane.key) may go and shows none"
      }
      if let wrong = treeViolation(lane.tree, byID: false, check: { !$0.isNext && $0.lane == index }, &blocked) {
        return "key \(lane.key): \(wrong)"
      }
    }
    if lanes.count != lanesOf.count { return "\(lanes.count) keys of \(lanesOf.count)" }
    return blocked == counts.blocked ? nil : "\(blocked) of \(counts.blocked) blocked ones are behind keys"
  }

  private func flowsViolation(_ membersOf: [Int32: Int32]) -> String? {
    var shown = 0
    var turning = 0
    for index in flows.places() {
      let flow = flows[index]
      if membersOf[index] != flow.members { return "tenant \(flow.key): \(flow.members) messages" }
      if flow.tree.first >= 0 { turning += 1 }
      if let wrong = treeViolation(flow.tree, byID: true, check: { $0.isNext && $0.flow == index }, &shown) {
        return "tenant \(flow.key): \(wrong)"
      }
    }
    if flows.count != membersOf.count { return "\(flows.count) flows of \(membersOf.count)" }
    if shown != counts.waiting - counts.blocked { return "\(shown) may go of \(counts.waiting - counts.blocked)" }
    var inTurns = 0
    for priority in 0...Int(Entry.priorityMax) {
      var previous: Int32 = -1
      var flow = turns[priority].first
      while flow >= 0 {
        inTurns += 1
        if inTurns > turning { return "more take turns than may go" }
        if flows[flow].previous != previous || Int(flows[flow].key.priority) != priority || flows[flow].tree.first < 0 {
          return "the turns of priority \(priority)"
        }
        previous = flow
        flow = flows[flow].following
      }
      if turns[priority].last != previous { return "the end of the turns of priority \(priority)" }
    }
    return inTurns == turning ? nil : "\(inTurns) of \(turning) take turns"
  }

  /// The tree from its first to its last: in order, its links mutual; adds how many there are.
  private func treeViolation(
    _ tree: Tree, byID: Bool, check: (Message) -> Bool, _ count: inout Int
  ) -> String? {
    var index = tree.first
    var last: Int32 = -1
    while index >= 0 {
      count += 1
      if count > messages.count { return "a tree is a ring" }
      let message = messages[index]
      if message.state != .waiting || !check(message) { return "\(message.id) is in a wrong tree" }
      if last >= 0 && !isBefore(last, index, byID: byID) { return "\(message.id) is out of order" }
      for child in [message.left, message.right] where child >= 0 && messages[child].parent != index {
        return "\(message.id) has a child that does not know it"
      }
      if message.parent < 0 && tree.root != index { return "\(message.id) has no parent" }
      last = index
      index = neighbour(index, after: true)
    }
    return last == tree.last && (tree.root >= 0) == (tree.first >= 0) ? nil : "a tree's end"
  }
}
