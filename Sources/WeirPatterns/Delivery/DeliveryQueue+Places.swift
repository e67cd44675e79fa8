// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// Where messages are kept, and how they come and go.
extension DeliveryQueue {
  /// A message's node: 80 bytes, all that is known of it and its links.
  struct Message: Keyed {
    var id: Int64
    var due: Int64
    var expires: Int64
    /// While in flight: when the lease is over.
    var until: Int64 = 0
    var bytes: Int32
    /// Its key's lane, or -1.
    var lane: Int32
    /// Its tenant's turns at its priority.
    var flow: Int32
    var chain: Int32 = -1
    /// Its links in the tree of its lane or its flow; it is in one of them at most.
    var left: Int32 = -1
    var right: Int32 = -1
    var parent: Int32 = -1
    /// Its place among the timers, or -1.
    var timer: Int32 = -1
    /// Its neighbours of those that wait.
    var older: Int32 = -1
    var newer: Int32 = -1
    var attempts: UInt16
    var givenBack: UInt16
    var state: State
    /// While waiting: it is its lane's next, and in the tree of its flow.
    var isNext = false
    /// While delayed: after a failure, or postponed, so it holds a place of its key.
    var isRetry = false
    /// Two flags in one byte, for the node's 80.
    private var marks: UInt8 = 0

    /// Its last lease was over without a word: a late ack still counts while nobody else has it.
    var hasLapsed: Bool {
      get { marks & 1 != 0 }
      set { marks = newValue ? marks | 1 : marks & ~1 }
    }
    /// It was postponed once.
    var isPostponed: Bool {
      get { marks & 2 != 0 }
      set { marks = newValue ? marks | 2 : marks & ~2 }
    }

    init(
      id: Int64, due: Int64, expires: Int64, bytes: Int32, lane: Int32, flow: Int32, attempts: UInt16,
      givenBack: UInt16,
      state: State
    ) {
      self.id = id
      self.due = due
      self.expires = expires
      self.bytes = bytes
      self.lane = lane
      self.flow = flow
      self.attempts = attempts
      self.givenBack = givenBack
      self.state = state
    }

    /// It was worked on, and is to be worked on again.
    var hasBegun: Bool { isPostponed || attempts > givenBack }

    var key: Int64 { id }
    static func hash(_ key: Int64) -> UInt64 {
      // Ids are dense (rows of a table): Fibonacci hashing spreads them evenly.
      (UInt64(bitPattern: key) &* 0x9e37_79b9_7f4a_7c15) >> 32
    }
  }

  /// Those that wait behind one key.
  struct Lane: Keyed {
    var key: UInt64
    var tree = Tree()
    /// The one that goes next, which is in its flow's tree; -1 while the key's places are taken, or nobody waits.
    var next: Int32 = -1
    /// How many of its messages are in flight or wait for their retry.
    var held: Int32 = 0
    /// How many messages it has, in whatever state.
    var members: Int32 = 0
    var chain: Int32 = -1

    static func hash(_ key: UInt64) -> UInt64 { mixed(key) }
  }

  /// What of one tenant may go at one priority.
  struct Flow: Keyed {
    struct Key: Equatable, BitwiseCopyable {
      var tenant: UInt64
      var priority: UInt8
    }

    var key: Key
    var tree = Tree()
    /// How many messages it has, in whatever state.
    var members: Int32 = 0
    /// Whose turn is before and after.
    var previous: Int32 = -1
    var following: Int32 = -1
    var chain: Int32 = -1

    static func hash(_ key: Key) -> UInt64 { mixed(key.tenant &+ UInt64(key.priority) &* 0x0101_0101_0101_0101) }
  }

  /// Tenants in the order of their turns.
  struct Turns: Sendable, Equatable, BitwiseCopyable {
    var first: Int32 = -1
    var last: Int32 = -1
  }

  static func mixed(_ key: UInt64) -> UInt64 {
    var state = key
    return SeededRandom.split(&state)
  }

  func entry(at index: Int32) -> Entry {
    let message = messages[index]
    let flow = flows[message.flow]
    return Entry(
      id: message.id, key: message.lane < 0 ? 0 : lanes[message.lane].key, tenant: flow.key.tenant,
      priority: flow.key.priority, bytes: message.bytes, due: Instant(nanoseconds: message.due),
      expires: Instant(nanoseconds: message.expires), attempts: message.attempts, givenBack: message.givenBack,
      isPostponed: message.isPostponed,
      leasedUntil: message.state == .inFlight ? Instant(nanoseconds: message.until) : nil)
  }

  mutating func insert(_ entry: Entry, now: Instant) {
    precondition(messages.find(entry.id) < 0, "a message is offered once")
    let flowKey = Flow.Key(tenant: entry.tenant, priority: min(entry.priority, Entry.priorityMax))
    var flow = flows.find(flowKey)
    if flow < 0 { flow = flows.insert(Flow(key: flowKey)) }
    flows[flow].members += 1
    var lane: Int32 = -1
    if entry.key != 0 {
      lane = lanes.find(entry.key)
      if lane < 0 { lane = lanes.insert(Lane(key: entry.key)) }
      lanes[lane].members += 1
    }
    let isRetry = entry.isPostponed || entry.attempts > entry.givenBack
    let index = messages.insert(
      Message(
        id: entry.id, due: entry.due.nanoseconds, expires: entry.expires.nanoseconds, bytes: entry.bytes, lane: lane,
        flow: flow, attempts: entry.attempts, givenBack: entry.givenBack, state: .delayed))
    messages[index].isPostponed = entry.isPostponed
    counts.bytes += Int(entry.bytes)
    if let until = entry.leasedUntil {
      messages[index].state = .inFlight
      messages[index].until = until.nanoseconds
      counts.inFlight += 1
      hold(index)
      schedule(index, at: until.nanoseconds)
    } else if entry.due <= now {
      wait(index, first: false)
    } else {
      delay(index, isRetry: isRetry)
    }
  }

  /// A message without a state (it has just come, or was taken out of its state) waits for its time.
  mutating func delay(_ index: Int32, isRetry: Bool) {
    messages[index].state = .delayed
    messages[index].isRetry = isRetry
    counts.delayed += 1
    if isRetry {
      counts.retrying += 1
      hold(index)
    }
    schedule(index, at: min(messages[index].due, messages[index].expires))
  }

  /// A message without a state waits to be leased.
  mutating func wait(_ index: Int32, first: Bool) {
    messages[index].state = .waiting
    counts.waiting += 1
    enlist(index, first: first)
    schedule(index, at: messages[index].expires)
    let lane = messages[index].lane
    if lane < 0 {
      show(index)
    } else {
      counts.blocked += 1
      plant(index, inLane: lane)
      arrange(lane)
    }
  }

  /// Takes a message out of the state it is in.
  ///
  /// Its lane is not arranged again: whoever calls does that, after the message has found its new place, so that it is
  /// not overtaken on the way.
  mutating func unstate(_ index: Int32) {
    switch messages[index].state {
    case .inFlight:
      counts.inFlight -= 1
      release(index)
    case .delayed:
      counts.delayed -= 1
      if messages[index].isRetry {
        counts.retrying -= 1
        messages[index].isRetry = false
        release(index)
      }
    case .waiting:
      counts.waiting -= 1
      delist(index)
      let lane = messages[index].lane
      if messages[index].isNext {
        hide(index)
        if lane >= 0 { lanes[lane].next = -1 }
      } else {
        counts.blocked -= 1
        uproot(index, fromLane: lane)
      }
    }
  }

  /// Forgets a message, whatever its state; `leaving` in the course of things, it counts for the drain.
  mutating func drop(_ index: Int32, leaving now: Instant?) {
    if let now { drain.left(now: now) }
    unstate(index)
    let message = messages[index]
    schedule(index, at: .max)
    counts.bytes -= Int(message.bytes)
    messages.remove(index)
    if message.lane >= 0 {
      lanes[message.lane].members -= 1
      if lanes[message.lane].members == 0 { lanes.remove(message.lane) } else { arrange(message.lane) }
    }
    flows[message.flow].members -= 1
    if flows[message.flow].members == 0 { flows.remove(message.flow) }
  }

  /// A place of its key is taken by a message; the lane shows another, or none.
  mutating func hold(_ index: Int32) {
    let lane = messages[index].lane
    if lane < 0 { return }
    lanes[lane].held += 1
    arrange(lane)
  }

  private mutating func release(_ index: Int32) {
    let lane = messages[index].lane
    if lane >= 0 { lanes[lane].held -= 1 }
  }

  // MARK: Those that wait, by age

  private mutating func enlist(_ index: Int32, first: Bool) {
    if first {
      messages[index].older = -1
      messages[index].newer = longest
      if longest >= 0 { messages[longest].older = index } else { newest = index }
      longest = index
    } else {
      messages[index].older = newest
      messages[index].newer = -1
      if newest >= 0 { messages[newest].newer = index } else { longest = index }
      newest = index
    }
  }

  mutating func delist(_ index: Int32) {
    let older = messages[index].older
    let newer = messages[index].newer
    if older >= 0 { messages[older].newer = newer } else { longest = newer }
    if newer >= 0 { messages[newer].older = older } else { newest = older }
  }
}
