// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

let ms: Int64 = 1_000_000
let second: Int64 = 1_000_000_000

func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * ms) }

/// How an instance treats the attempts that reach it.
enum Mood: Equatable {
  /// A whole answer with this status after so many milliseconds.
  case answers(UInt16, Int64)
  case answersLater(UInt16, Int64, retryAfter: Int64)
  /// Our own answer, made by a Weir behind it.
  case answersByWeir(UInt16, Int64)
  case refuses
  /// Takes the connection and fails the handshake.
  case insecure
  case neverConnects
  case losesBeforeHead
  case cutsInBody
  case hangs
  /// Its head comes after the first, its end after the second number of milliseconds.
  case streams(Int64, Int64)
  /// Any of the above, by chance.
  case chaos

  static var well: Mood { .answers(200, 5) }
}

/// A driver in virtual time that refuses to do what a real one could not: every broken promise is a line in `broken`.
///
/// It reserves places, keeps one attempt a call, wakes calls late, early and twice, merges every 100 ms, and gives turns.
struct MockWorld {
  struct Try: Equatable {
    var instance: Int
    var number: Int
    var at: Instant
    var isProbe = false
  }

  /// A call as the driver keeps it.
  struct Book {
    var id: Int
    var edge: Int
    var startedAt: Instant
    var underWay: Int?
    /// The attempt beside it.
    var hedge: (instance: Int, serial: Int, mood: Mood)?
    /// Grows with every attempt, so that what an earlier one still sends is dropped.
    var serial = 0
    var granted: Int?
    var holdsEdge = false
    var isAnswering = false
    var armed = Instant.distantFuture
    var tries: [Try] = []
    var sent: [Int64] = []
    var mood = Mood.well
    var waitedAt: Instant?
  }

  struct Ended: Equatable {
    var id: Int
    var edge: Int
    var startedAt: Instant
    var at: Instant
    var action: CallAction
    var status: UInt16
    var tries: [Try]

    var isGood: Bool { action == .finish && status < 500 && status != 429 }
    var reason: Reason {
      switch action {
      case .refuse(let reason, _), .fallback(let reason), .abort(let reason): reason
      default: .none
      }
    }
  }

  enum Happening {
    case arrive(loop: Int, edge: Int, RequestFacts)
    case connected, sentAll, head(UInt16, Int64?, Bool), ended, failed(RetryRule.Failure)
    case wake, callerGone
    case merge(loop: Int)
    case mood(service: Int, instance: Int, Mood)
    case health(service: Int, instance: Int, up: Bool)
    case replaced(service: Int, instance: Int)
  }

  struct Entry {
    var at: Instant
    var order: Int
    var loop = 0
    var slot = Slot.none
    /// -1: meant for the call, whatever attempt it is at.
    var serial = -1
    var what: Happening
  }

  let plan: FlowPlan
  var flows: [LoopFlows]
  var node: NodeFlows
  var now: Instant
  var random: SeededRandom
  /// Places held, by service and instance.
  var cells: [[Int]]
  var edgeHeld: [Int]
  var moods: [[Mood]]
  var books: [[Slot: Book]]
  var versions: [[UInt32]]
  var ended: [Ended] = []
  /// Attempts of calls that are over; counted as they end, for `wrong` is asked after every step.
  private var triesOfEnded = 0
  var broken: [String] = []
  var events: [Event] = []
  /// Wakes come up to this late; and early or twice when it is not 0.
  var lateness: Int64 = 0
  /// Places held by somebody the world does not show: attempts find them taken.
  var strangers: [[Int]]
  var probesGranted = 0
  var hedges = 0
  var waitingMost = 0
  /// Views reach other loops at once rather than at their next merge.
  var toldAtOnce = false
  private var agenda: [Entry] = []
  private var agendaHead = 0
  private var order = 0
  private var nextId = 0
  private var nextSerial = 0
  private var turns: [(loop: Int, edge: Int)] = []

  init(_ plan: FlowPlan, loops: Int = 1, seed: UInt64 = 1, records: Int = 0, start: Instant = .zero) {
    self.plan = plan
    now = start
    node = NodeFlows(plan: plan, seed: seed, now: start)
    let views = plan.edges.indices.map { [node] in node.view($0) }
    flows = (0..<loops).map {
      LoopFlows(plan: plan, views: views, loop: $0, loops: loops, seed: seed, records: records)
    }
    random = SeededRandom(seed: seed, stream: "mock")
    cells = plan.services.map { Array(repeating: 0, count: $0.instances) }
    strangers = cells
    moods = plan.services.map { Array(repeating: .well, count: $0.instances) }
    edgeHeld = Array(repeating: 0, count: plan.edges.count)
    books = Array(repeating: [:], count: loops)
    versions = Array(repeating: plan.edges.indices.map { [node] in node.version($0) }, count: loops)
    for loop in 0..<loops {
      schedule(start.advanced(by: NodeFlows.mergeEvery + Int64(loop) * ms), .merge(loop: loop))
    }
  }

  var openCalls: Int { books.reduce(0) { $0 + $1.count } }
  var attempts: Int { flows.reduce(0) { $0 + $1.state.ledger.edges.reduce(0) { $0 + Int($1.attempts) } } }
  var offered: Int { flows.reduce(0) { $0 + $1.state.ledger.edges.reduce(0) { $0 + Int($1.calls) } } }
  func serving(_ loop: Int = 0, edge: Int = 0) -> [UInt16] { flows[loop].state.upstreams[edge].view.serving }
  func waiting(_ loop: Int = 0, edge: Int = 0) -> Int { flows[loop].state.upstreams[edge].waitingCount }

  // MARK: The agenda

  mutating func schedule(_ when: Instant, _ what: Happening, loop: Int = 0, slot: Slot = .none, serial: Int = -1) {
    order += 1
    let entry = Entry(at: max(when, now), order: order, loop: loop, slot: slot, serial: serial, what: what)
    var low = agendaHead
    var high = agenda.count
    while low < high {
      let middle = (low + high) / 2
      if agenda[middle].at <= entry.at { low = middle + 1 } else { high = middle }
    }
    agenda.insert(entry, at: low)
  }

  mutating func run(until end: Instant) {
    while agendaHead < agenda.count, agenda[agendaHead].at <= end {
      let entry = agenda[agendaHead]
      agendaHead += 1
      if agendaHead > 4096 {
        agenda.removeFirst(agendaHead)
        agendaHead = 0
      }
      now = entry.at
      play(entry)
      settle()
    }
    now = end
  }

  mutating func arrive(
    _ when: Instant, loop: Int = 0, edge: Int = 0, _ facts: RequestFacts = RequestFacts(body: .none)
  ) {
    schedule(when, .arrive(loop: loop, edge: edge, facts))
  }

  /// A call now; its slot, or nil when it is over already.
  @discardableResult
  mutating func begin(loop: Int = 0, edge: Int = 0, _ facts: RequestFacts = RequestFacts()) -> Slot? {
    let (slot, step) = flows[loop].begin(call: edge, facts: facts, now: now)
    nextId += 1
    books[loop][slot] = Book(id: nextId, edge: edge, startedAt: now)
    act(loop, slot, step)
    settle()
    return books[loop][slot] == nil ? nil : slot
  }

  private mutating func play(_ entry: Entry) {
    let loop = entry.loop
    let slot = entry.slot
    switch entry.what {
    case .arrive(let loop, let edge, let facts):
      let (slot, step) = flows[loop].begin(call: edge, facts: facts, now: now)
      nextId += 1
      books[loop][slot] = Book(id: nextId, edge: edge, startedAt: now)
      act(loop, slot, step)
    case .merge(let loop):
      merge(loop)
      schedule(now.advanced(by: NodeFlows.mergeEvery), .merge(loop: loop))
    case .mood(let service, let instance, let mood): moods[service][instance] = mood
    case .health(let service, let instance, let up):
      node.health(service: service, instance: instance, up: up, now: now)
      for loop in flows.indices { look(loop) }
    case .replaced(let service, let instance):
      node.replaced(service: service, instance: instance, now: now)
      for loop in flows.indices { look(loop) }
    case .wake:
      let step = flows[loop].wake(slot, now: now)
      guard books[loop][slot] != nil else {
        if step != CallStep(.none) { broken.append("a stale slot woke to \(step)") }
        return
      }
      act(loop, slot, step)
    case .callerGone:
      guard books[loop][slot] != nil else { return }
      act(loop, slot, flows[loop].callerGone(slot, now: now))
    case .connected, .sentAll, .head, .ended, .failed:
      guard let book = books[loop][slot], let underWay = book.underWay,
        book.serial == entry.serial || book.hedge?.serial == entry.serial
      else { return }
      let of = UInt16(book.serial == entry.serial ? underWay : book.hedge?.instance ?? underWay)
      switch entry.what {
      case .connected:
        flows[loop].connected(slot, of: of, now: now)
        flows[loop].sent(slot, .something, of: of, now: now)
        arm(loop, slot)
      case .sentAll: flows[loop].sent(slot, .all, of: of, now: now)
      case .head(let status, let retryAfter, let fromWeir):
        let step = flows[loop].head(slot, status: status, retryAfter: retryAfter, fromWeir: fromWeir, of: of, now: now)
        act(loop, slot, step)
      case .ended:
        guard book.isAnswering else { return }
        act(loop, slot, flows[loop].ended(slot, now: now))
      case .failed(let failure): act(loop, slot, flows[loop].failed(slot, failure, of: of, now: now))
      default: break
      }
    }
  }

  // MARK: Acting

  private mutating func act(_ loop: Int, _ slot: Slot, _ step: CallStep) {
    guard var book = books[loop][slot] else {
      broken.append("\(now): \(step) for a call that is over")
      return
    }
    let service = plan.edges[book.edge].service
    if step.cancels && step.freed == CallStep.nobody { broken.append("\(now): cancels and frees nothing") }
    if step.loser != CallStep.nobody {
      if let hedge = book.hedge, hedge.instance != Int(step.loser) {
        if book.underWay != Int(step.loser) { broken.append("\(now): \(step.loser) loses, and is not under way") }
        book.underWay = hedge.instance
        book.serial = hedge.serial
        book.mood = hedge.mood
      } else if book.hedge == nil {
        broken.append("\(now): \(step.loser) loses, and there is no second attempt")
      }
      book.hedge = nil
      cells[service][Int(step.loser)] -= 1
    } else if book.hedge != nil, step.isLast || step.action == .answer {
      broken.append("\(now): \(step.action) leaves an attempt behind")
    }
    if step.freed != CallStep.nobody {
      if let hedge = book.hedge, hedge.instance == Int(step.freed) {
        book.hedge = nil
      } else {
        if book.underWay != Int(step.freed) {
          broken.append("\(now): frees \(step.freed), under way is \(String(describing: book.underWay))")
        }
        nextSerial += 1
        book.underWay = book.hedge?.instance
        book.serial = book.hedge?.serial ?? nextSerial
        book.mood = book.hedge?.mood ?? book.mood
        book.isAnswering = false
        book.hedge = nil
      }
      cells[service][Int(step.freed)] -= 1
      if cells[service][Int(step.freed)] < 0 { broken.append("\(now): a place is given back twice") }
    }
    if step.freesEdge != (step.isLast && book.holdsEdge) { broken.append("\(now): place of the edge: \(step)") }
    if step.freesEdge {
      edgeHeld[book.edge] -= 1
      book.holdsEdge = false
    }
    books[loop][slot] = book
    perform(loop, slot, step.action)
    if step.freed != CallStep.nobody { placeFreed(service: service, instance: step.freed, by: loop, edge: book.edge) }
    if step.loser != CallStep.nobody { placeFreed(service: service, instance: step.loser, by: loop, edge: book.edge) }
    if step.turns { turns.append((loop, book.edge)) }
    if step.freesEdge {
      for i in 1...flows.count { turns.append(((loop + i) % flows.count, book.edge)) }
    }
  }

  private mutating func perform(_ loop: Int, _ slot: Slot, _ action: CallAction) {
    guard var book = books[loop][slot] else { return }
    let service = plan.edges[book.edge].service
    switch action {
    case .none: break
    case .attempt(let index, let number):
      let instance = Int(index)
      if book.underWay != nil { broken.append("\(now): two attempts under way") }
      if Int(number) != book.tries.count + 1 { broken.append("\(now): attempt \(number) after \(book.tries.count)") }
      if now >= flows[loop].calls[slot].deadline { broken.append("\(now): an attempt past the deadline") }
      let isProbe = book.granted == instance
      let isHome = flows[loop].state.upstreams[book.edge].view.resting.contains(index)
      if !isProbe && !isHome && !serving(loop, edge: book.edge).contains(index) {
        broken.append("\(now): an attempt on \(instance), which does not serve")
      }
      book.granted = nil
      let places = Int(plan.services[service].atOnce) - strangers[service][instance]
      if cells[service][instance] >= places {
        books[loop][slot] = book
        act(loop, slot, flows[loop].full(slot, of: index, now: now))
        return
      }
      cells[service][instance] += 1
      book.underWay = instance
      nextSerial += 1
      book.serial = nextSerial
      book.tries.append(Try(instance: instance, number: Int(number), at: now, isProbe: isProbe))
      book.mood = moods[service][instance]
      if book.mood == .chaos { book.mood = chaos() }
      books[loop][slot] = book
      reach(loop, slot, book)
    case .hedge(let index, let number):
      let instance = Int(index)
      hedges += 1
      if book.underWay == nil || book.hedge != nil { broken.append("\(now): a hedge beside nothing, or a second one") }
      if book.underWay == instance { broken.append("\(now): a hedge on the same instance") }
      if Int(number) != book.tries.count + 1 { broken.append("\(now): hedge \(number) after \(book.tries.count)") }
      if now >= flows[loop].calls[slot].deadline { broken.append("\(now): a hedge past the deadline") }
      if !serving(loop, edge: book.edge).contains(index) { broken.append("\(now): a hedge on \(instance)") }
      let places = Int(plan.services[service].atOnce) - strangers[service][instance]
      if cells[service][instance] >= places {
        act(loop, slot, flows[loop].full(slot, of: index, now: now))
        return
      }
      cells[service][instance] += 1
      nextSerial += 1
      var mood = moods[service][instance]
      if mood == .chaos { mood = chaos() }
      book.hedge = (instance, nextSerial, mood)
      book.tries.append(Try(instance: instance, number: Int(number), at: now))
      books[loop][slot] = book
      var sent = book
      sent.serial = nextSerial
      sent.mood = mood
      reach(loop, slot, sent)
    case .ask(let question):
      var granted: CircuitBreaker.Ticket?
      switch question {
      case .place:
        if book.holdsEdge { broken.append("\(now): asks for a place and has one") }
        if edgeHeld[book.edge] < Int(plan.edges[book.edge].call.atOnce) {
          edgeHeld[book.edge] += 1
          book.holdsEdge = true
          granted = CircuitBreaker.Ticket(epoch: 0)
        }
      case .probeInstance(let index):
        granted = node.permit(edge: book.edge, instance: index, now: now)
        if let granted {
          book.granted = Int(index)
          if granted.isProbe { probesGranted += 1 }
        }
      case .probeService:
        granted = node.permit(edge: book.edge, instance: nil, now: now)
        if granted?.isProbe == true { probesGranted += 1 }
      case .retry(let told):
        if node.retry(edge: book.edge, told, now: now) { granted = CircuitBreaker.Ticket(epoch: 0) }
      }
      books[loop][slot] = book
      look(loop)
      act(loop, slot, flows[loop].permit(slot, granted, now: now))
      return
    case .wait:
      if book.underWay != nil { broken.append("\(now): waits with an attempt under way") }
    case .answer:
      if book.underWay == nil { broken.append("\(now): answers with nothing under way") }
      book.isAnswering = true
      books[loop][slot] = book
      switch book.mood {
      case .streams(_, let length):
        schedule(now.advanced(by: length * ms), .ended, loop: loop, slot: slot, serial: book.serial)
      case .cutsInBody:
        schedule(now.advanced(by: ms), .failed(.lostInBody), loop: loop, slot: slot, serial: book.serial)
      default: schedule(now.advanced(by: ms / 10), .ended, loop: loop, slot: slot, serial: book.serial)
      }
    case .finish, .refuse, .fallback, .abort:
      if book.underWay != nil { broken.append("\(now): over with an attempt under way: \(action)") }
      if flows[loop].calls.isLive(slot) { broken.append("\(now): over, and its slot lives") }
      ended.append(
        Ended(
          id: book.id, edge: book.edge, startedAt: book.startedAt, at: now, action: action,
          status: lastStatus[slot] ?? 0,
          tries: book.tries))
      triesOfEnded += book.tries.count
      lastStatus[slot] = nil
      books[loop][slot] = nil
      return
    }
    if action == .answer { lastStatus[slot] = flows[loop].calls[slot].status }
    if !flows[loop].calls.isLive(slot) { broken.append("\(now): the slot died with \(action)") }
    arm(loop, slot)
    post(loop, edge: book.edge)
  }
  private var lastStatus: [Slot: UInt16] = [:]

  /// What the instance will do with the attempt that has just been sent.
  private mutating func reach(_ loop: Int, _ slot: Slot, _ book: Book) {
    let serial = book.serial
    func later(_ world: inout MockWorld, _ length: Int64, _ what: Happening) {
      world.schedule(world.now.advanced(by: length), what, loop: loop, slot: slot, serial: serial)
    }
    switch book.mood {
    case .refuses: return later(&self, ms / 2, .failed(.connectRefused))
    case .insecure: return later(&self, ms / 2, .failed(.tlsFailed))
    case .neverConnects: return
    default: break
    }
    later(&self, ms / 10, .connected)
    later(&self, ms / 5, .sentAll)
    switch book.mood {
    case .answers(let status, let length): later(&self, max(length * ms, ms / 4), .head(status, nil, false))
    case .answersLater(let status, let length, let retryAfter):
      later(&self, max(length * ms, ms / 4), .head(status, retryAfter * ms, false))
    case .answersByWeir(let status, let length): later(&self, max(length * ms, ms / 4), .head(status, nil, true))
    case .losesBeforeHead: later(&self, 2 * ms, .failed(.lostBeforeHead))
    case .cutsInBody: later(&self, 2 * ms, .head(200, nil, false))
    case .streams(let first, _): later(&self, first * ms, .head(200, nil, false))
    case .hangs, .refuses, .insecure, .neverConnects, .chaos: break
    }
  }

  private mutating func chaos() -> Mood {
    switch random.index(below: 12) {
    case 0: .answers(500, 2)
    case 1: .answers(503, 2)
    case 2: .answersLater(429, 2, retryAfter: 150)
    case 3: .refuses
    case 4: .neverConnects
    case 5: .losesBeforeHead
    case 6: .cutsInBody
    case 7: .hangs
    case 8: .streams(5, 300)
    case 9: .answersByWeir(503, 3)
    case 10: .answers(200, 400)
    default: .well
    }
  }

  private mutating func arm(_ loop: Int, _ slot: Slot) {
    guard var book = books[loop][slot], flows[loop].calls.isLive(slot) else { return }
    let wake = flows[loop].calls[slot].nextWake
    guard wake != .distantFuture, wake != book.armed || wake <= now else { return }
    book.armed = wake
    books[loop][slot] = book
    var when = max(wake, now)
    if lateness > 0 {
      when = when.advanced(by: random.nanoseconds(upTo: lateness))
      if random.chance(0.2) {
        schedule(wake.advanced(by: -random.nanoseconds(upTo: 5 * ms)), .wake, loop: loop, slot: slot)
      }
      if random.chance(0.2) { schedule(when.advanced(by: 1), .wake, loop: loop, slot: slot) }
    }
    schedule(when, .wake, loop: loop, slot: slot)
  }

  // MARK: Places and merges

  /// A place was given back: every loop and edge of the callee hears of it, and whoever waits has a turn.
  mutating func placeFreed(service: Int, instance: UInt16, by loop: Int, edge: Int) {
    // The loop that gave it back comes last: first, it would hand its places to its own for ever.
    for i in 1...flows.count {
      let other = (max(0, loop) + i) % flows.count
      for e in plan.edges.indices where plan.edges[e].service == service {
        if other != loop || e != edge { flows[other].placeFreed(edge: e, instance: instance) }
        turns.append((other, e))
      }
    }
  }

  /// Gives the turns that are due, until nobody can go on.
  mutating func settle() {
    var rounds = 0
    while !turns.isEmpty {
      let (loop, edge) = turns.removeFirst()
      rounds += 1
      // Each turn may bring others, but no call may have turns for ever while the clock stands.
      if rounds > 10_000 {
        broken.append("\(now): turns without end")
        turns = []
        return
      }
      var guardCount = 0
      while let (slot, step) = flows[loop].turn(edge: edge, now: now) {
        act(loop, slot, step)
        guardCount += 1
        if guardCount > 10_000 {
          broken.append("\(now): turns without end")
          return
        }
        if let book = books[loop][slot], book.underWay == nil, flows[loop].calls[slot].isQueued,
          !flows[loop].hasVerdicts(edge: edge)
        {
          break
        }
      }
    }
    for loop in flows.indices {
      for edge in plan.edges.indices {
        waitingMost = max(waitingMost, waiting(loop, edge: edge))
        post(loop, edge: edge)
      }
    }
    if !turns.isEmpty { settle() }
  }

  private mutating func post(_ loop: Int, edge: Int) {
    if flows[loop].isUrgent(edge: edge) {
      if let delta = flows[loop].takeDelta(edge: edge) { node.absorb(delta, now: now) }
      look(loop)
      if toldAtOnce { for other in flows.indices { look(other) } }
    }
  }

  private mutating func merge(_ loop: Int) {
    for edge in plan.edges.indices {
      if let delta = flows[loop].takeDelta(edge: edge) { node.absorb(delta, now: now) }
    }
    node.tick(now: now)
    look(loop)
    events += node.takeEvents().events
    events += flows[loop].takeEvents().events
  }

  /// The loop takes over the node's views that are newer than its own.
  mutating func look(_ loop: Int) {
    for edge in plan.edges.indices where node.version(edge) != versions[loop][edge] {
      versions[loop][edge] = node.version(edge)
      flows[loop].accept(node.view(edge), edge: edge, now: now)
      turns.append((loop, edge))
    }
  }

  // MARK: Checking

  /// What must hold at any time.
  func wrong() -> String? {
    if let first = broken.first { return first }
    for loop in flows.indices {
      if flows[loop].calls.count != books[loop].count {
        return "\(flows[loop].calls.count) calls, \(books[loop].count) kept"
      }
      var open = Array(repeating: 0, count: plan.edges.count)
      for book in books[loop].values { open[book.edge] += 1 }
      for edge in plan.edges.indices {
        let counted = flows[loop].state.ledger.edges[edge]
        if Int(counted.calls) != Int(counted.ended) + open[edge] {
          return "the ledger lost a call: \(counted), open \(open[edge])"
        }
        // A gate has a room of its own, before the line for places.
        let upstream = flows[loop].state.upstreams[edge]
        let length = plan.edges[edge].call.queue.length
        if upstream.waiting.count > length || upstream.waitingCount - upstream.waiting.count > length {
          return "the waiting room is over its length"
        }
      }
    }
    var tries = triesOfEnded
    for loop in books { for book in loop.values { tries += book.tries.count } }
    if tries != attempts { return "the ledger has \(attempts) attempts, the driver \(tries)" }
    return nil
  }

  /// What must hold when every call is over.
  func leftBehind() -> String? {
    if openCalls > 0 { return "\(openCalls) calls are open" }
    for service in cells { for held in service where held != 0 { return "\(held) places are held" } }
    for held in edgeHeld where held != 0 { return "\(held) places of an edge are held" }
    for loop in flows.indices {
      for edge in plan.edges.indices where waiting(loop, edge: edge) > 0 { return "\(waiting(loop, edge: edge)) wait" }
    }
    return nil
  }
}

/// One edge to one service, with what a test changes.
func onePlan(
  instances: Int = 3, atOnce: Int32 = .max, health: Bool = false, edit: (inout CallSettings) -> Void = { _ in }
) -> FlowPlan {
  var call = CallSettings()
  edit(&call)
  return FlowPlan(
    services: [FlowPlan.Service(instances: instances, atOnce: atOnce, hasHealthCheck: health)],
    edges: [FlowPlan.Edge(service: 0, call: call)])
}

extension Sequence where Element == MockWorld.Ended {
  /// A property, for `#expect` takes `allSatisfy` with a key path for a call that can throw.
  var allGood: Bool { allSatisfy { $0.isGood } }
}
