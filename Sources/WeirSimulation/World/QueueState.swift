// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// A queue of the world: the value that decides, and what is kept beside it to deliver, to count and to audit.
///
/// The state process keeps the payloads there; here it is what chance a message has, and since when it is in.
struct QueueState {
  struct Message {
    /// Its chance, as a request's key.
    var key: UInt64
    var client: UInt64
    var acceptedAt: Int64
    /// While it is in flight: since when; −1 else.
    var leasedAt: Int64 = -1
    var wasLeased = false
    /// What it is answered whenever it is delivered; 0 for what the callee makes of it.
    var poison: UInt16 = 0
    /// The same for all that are the same event.
    var event: UInt64 = 0
    /// Its place among those of its key, as they were sent; 0: there is none.
    var number: Int64 = 0
    /// It came twice.
    var isDoubled = false
    /// How often it was worked on.
    var works: UInt16 = 0
    /// So many attempts to deliver it are at an instance, or on their way to one.
    var out: UInt16 = 0
  }

  /// A lease of a message: the same message may be leased again while an instance still works on it.
  private struct LeaseKey: Hashable {
    var id: Int64
    var attempt: UInt16
  }

  /// What went in one request.
  private struct Pack {
    var leases: [DeliveryQueue.Leased]
    /// At an instance.
    var out = 0
    /// Its call is over.
    var isOver = false
  }

  private(set) var queue: DeliveryQueue
  private var random: SeededRandom
  private let salt: UInt64
  let edge: Int
  /// In the world's flat array.
  let operation: Int32
  private let isKeyed: Bool
  private var accepted: Int64 = 0
  private var messages: [Int64: Message] = [:]
  /// By loop: its pusher.
  private var deliveries: [QueueDelivery]
  /// Pushers that have asked and got nothing yet, the first of them first.
  private var asks: [(loop: Int, count: Int)] = []
  private var leased: [DeliveryQueue.Leased] = []
  private var changes: [DeliveryQueue.Change] = []
  /// By key: the last message that was given out.
  private var lastOfKey: [UInt64: Int64] = [:]
  private let batch: Int
  /// By the lease of the first of them: requests of several messages, until the call is over and no instance has it.
  private var packs: [LeaseKey: Pack] = [:]
  /// Done or dead, and an instance works on them still.
  private var settled: [Int64: Message] = [:]
  /// By key: the highest number that was worked on.
  private var worked: [UInt64: Int64] = [:]
  /// Of events that came twice: those that were worked on.
  private var doubledDone: Set<UInt64> = []
  let isOrdered: Bool
  private let isIdempotent: Bool
  private var sorted: SortedDelivery?
  /// Those that are sorted: by whom they were leased.
  private var leases: [Int64: (loop: Int, lease: DeliveryQueue.Leased)] = [:]
  /// They are to be delivered at the next turn.
  private var going: [Int64] = []
  /// When the leases of those that are kept are extended.
  private var extendAt = Int64.max
  /// A share of the messages that come in now is never worked on.
  var poison: (status: UInt16, share: Double) = (0, 0)
  /// When the one event that wakes it is due; `Int64.max` without one.
  var wakeAt = Int64.max
  /// It is on the list of those that are looked at when this moment's event is over.
  var isDue = false

  var counts = QueueCounts()
  /// All that are in it.
  private(set) var inside = QueueGauge()
  private(set) var inFlight = QueueGauge()
  /// From acceptance to the first delivery's beginning, and to the end of the one that succeeded.
  private(set) var waits = Tally()
  private(set) var times = Tally()
  var peaks = QueuePeaks()

  init(_ model: QueueModel, edge: Int, operation: Int32, loops: Int, seed: UInt64) {
    let delivery = model.delivery
    deliveries = (0..<(edge >= 0 ? loops : 0)).filter { delivery.isDelivered(onLoop: $0) }.map { _ in
      QueueDelivery(delivery)
    }
    queue = DeliveryQueue(model.settings)
    random = SeededRandom(seed: seed, stream: "queue \(model.name)")
    salt = Draws.salt(seed, "messages of \(model.name)")
    self.edge = edge
    self.operation = operation
    isKeyed = model.isKeyed
    isOrdered = model.isOrdered
    isIdempotent = model.isIdempotent
    batch = max(1, model.batch)
    sorted = model.sorting.map { SortedDelivery($0) }
  }

  // MARK: - What happens to it

  /// There is no room for one more.
  var isFull: Bool { queue.count >= queue.settings.length }

  /// False when it has no room.
  mutating func offer(_ sent: Envelope, now: Instant) -> Bool {
    let client = sent.client
    let mine = Draws.mixed(sent.key ^ salt)
    // Zero stands for no key.
    let entry = DeliveryQueue.Entry(
      id: accepted + 1, key: isKeyed ? client | 1 : 0, due: now, expires: queue.settings.expiry(due: now))
    guard case .accepted = queue.offer(entry, now: now) else {
      counts.refused += 1
      return false
    }
    accepted += 1
    counts.accepted += 1
    var message = Message(key: mine, client: client, acceptedAt: now.nanoseconds)
    message.event = sent.event
    message.number = sent.number
    message.isDoubled = sent.isDoubled
    if poison.share > 0, Draws.unit(Draws.mixed(mine)) < poison.share { message.poison = poison.status }
    messages[accepted] = message
    inside.enter(at: now.nanoseconds)
    return true
  }

  /// What time has done, then as many leases as the pushers ask for: in the order of the state process.
  mutating func turn(now: Instant, into given: inout [(loop: Int, lease: DeliveryQueue.Leased)]) {
    let most = 1024
    var count = most
    while count == most {
      changes.removeAll(keepingCapacity: true)
      count = queue.tick(most, now: now, using: &random, into: &changes)
      for change in changes {
        counts.lapsed += 1
        note(change.id, change.settled, now: now)
      }
    }
    extendKept(now: now)
    if let sorted, sorted.nextWake <= now {
      for change in self.sorted?.tick(now: now, into: &going) ?? [] where change.atGap == .skip {
        counts.skipped += change.last - change.first + 1
      }
    }
    if let oldest = queue.readings.oldest { peaks.oldest = max(peaks.oldest, now.since(oldest)) }
    while serve(now: now, into: &given) {}
    for token in going {
      guard let one = leases[token] else { continue }
      deliveries[one.loop].resumed()
      given.append(one)
    }
    going.removeAll(keepingCapacity: true)
    let readings = queue.readings
    peaks.note(Int64(readings.waiting + readings.delayed), at: now.nanoseconds)
  }

  /// Who has asked first is served first; an ask waits until there is something for it.
  ///
  /// True when anybody got something.
  private mutating func serve(
    now: Instant, into given: inout [(loop: Int, lease: DeliveryQueue.Leased)]
  ) -> Bool {
    for loop in deliveries.indices {
      let count = deliveries[loop].ask(now: now)
      if count > 0 { asks.append((loop, count)) }
    }
    guard let first = asks.first else { return false }
    leased.removeAll(keepingCapacity: true)
    queue.lease(first.count, now: now, into: &leased)
    if leased.isEmpty { return false }
    asks.removeFirst()
    for lease in leased { take(lease.id, now: now) }
    if batch > 1 {
      pack(leased, of: first.loop, now: now, into: &given)
      return true
    }
    deliveries[first.loop].leased(leased.count)
    for lease in leased {
      if sorted == nil { given.append((first.loop, lease)) } else { sort(lease, on: first.loop, now: now) }
    }
    return true
  }

  /// What goes in one request is named by the first of it.
  private mutating func pack(
    _ leased: [DeliveryQueue.Leased], of loop: Int, now: Instant,
    into given: inout [(loop: Int, lease: DeliveryQueue.Leased)]
  ) {
    let packed = deliveries[loop].leased(attempts: leased.map(\.attempt))
    for index in packed.back {
      note(leased[index].id, queue.giveBack(leased[index].id, attempt: leased[index].attempt, now: now), now: now)
    }
    for call in packed.calls {
      let first = leased[call[0]]
      if call.count > 1 {
        packs[LeaseKey(id: first.id, attempt: first.attempt)] = Pack(leases: call.map { leased[$0] })
      }
      given.append((loop, first))
    }
  }

  /// What was leased is put where it belongs: delivered in its turn, or known already.
  private mutating func sort(_ lease: DeliveryQueue.Leased, on loop: Int, now: Instant) {
    // What is kept takes no place of those that are delivered.
    deliveries[loop].declined()
    guard let message = messages[lease.id] else { return }
    let event = SortedDelivery.Event(
      token: lease.id, id: .init(high: message.event, low: 0), stream: message.client,
      number: message.number > 0 ? message.number : nil)
    leases[lease.id] = (loop, lease)
    if extendAt == .max { extendAt = now.nanoseconds &+ queue.settings.visibility.inNanoseconds / 2 }
    switch sorted?.came(event, now: now, into: &going) {
    case .taken?: if !going.contains(lease.id) { counts.kept += 1 }
    case .duplicate?:
      counts.known += 1
      messages[lease.id]?.isDoubled = true
      note(lease.id, queue.ack(lease.id, attempt: lease.attempt, now: now), now: now, isKnown: true)
    case .late?:
      note(
        lease.id, queue.nack(lease.id, attempt: lease.attempt, isFinal: true, now: now, using: &random), now: now)
    case .full?, nil:
      note(
        lease.id, queue.postpone(lease.id, attempt: lease.attempt, by: SortedDelivery.fullRest, now: now), now: now,
        isPostponed: true)
    }
  }

  /// Who waits for its turn does not lose its lease.
  private mutating func extendKept(now: Instant) {
    guard now.nanoseconds >= extendAt else { return }
    let visibility = queue.settings.visibility.inNanoseconds
    for (_, one) in leases.sorted(by: { $0.key < $1.key }) {
      _ = queue.extend(one.lease.id, attempt: one.lease.attempt, by: visibility, now: now)
    }
    extendAt = leases.isEmpty ? .max : now.nanoseconds &+ visibility / 2
  }

  /// When time alone can change something; what has passed waits for something else.
  func nextWake(now: Instant) -> Instant {
    var wake = queue.nextWake > now ? queue.nextWake : .distantFuture
    for delivery in deliveries where delivery.nextWake > now { wake = min(wake, delivery.nextWake) }
    if let sorted, sorted.nextWake > now { wake = min(wake, sorted.nextWake) }
    if extendAt < .max { wake = min(wake, Instant(nanoseconds: extendAt)) }
    return wake
  }

  private mutating func take(_ id: Int64, now: Instant) {
    guard var message = messages[id] else { return }
    if !message.wasLeased { waits.record(now.nanoseconds &- message.acceptedAt) }
    message.wasLeased = true
    message.leasedAt = now.nanoseconds
    messages[id] = message
    inFlight.enter(at: now.nanoseconds)
    counts.leased += 1
    guard isKeyed, queue.settings.keyAtOnce == 1 else { return }
    if lastOfKey[message.client] ?? 0 > id { counts.outOfOrder += 1 }
    lastOfKey[message.client] = id
  }

  // MARK: - At the instances

  /// What went in the request that is named by this lease.
  private func members(_ first: Int64, _ attempt: UInt16) -> [Int64]? {
    if batch == 1 { return nil }
    return packs[LeaseKey(id: first, attempt: attempt)].map { $0.leases.map(\.id) }
  }

  /// What an instance answers whenever it is asked for these: the poison of any of them.
  func poison(of lease: DeliveryQueue.Leased) -> UInt16 {
    guard let members = members(lease.id, lease.attempt) else { return messages[lease.id]?.poison ?? 0 }
    return members.lazy.compactMap { messages[$0]?.poison }.first { $0 != 0 } ?? 0
  }

  /// An attempt to deliver is on its way to an instance.
  mutating func sent(_ first: Int64, _ attempt: UInt16) {
    guard let members = members(first, attempt) else { return change(first) { $0.out += 1 } }
    packs[LeaseKey(id: first, attempt: attempt)]?.out += 1
    for id in members { change(id) { $0.out += 1 } }
  }

  /// No instance has it any more.
  mutating func left(_ first: Int64, _ attempt: UInt16) {
    guard let members = members(first, attempt) else { return forget(first) }
    for id in members { forget(id) }
    let key = LeaseKey(id: first, attempt: attempt)
    packs[key]?.out -= 1
    if let pack = packs[key], pack.isOver, pack.out == 0 { packs[key] = nil }
  }

  private mutating func forget(_ id: Int64) {
    change(id) { $0.out -= 1 }
    if settled[id]?.out == 0 { settled[id] = nil }
  }

  private mutating func change(_ id: Int64, _ body: (inout Message) -> Void) {
    if let place = messages.index(forKey: id) { return body(&messages.values[place]) }
    if let place = settled.index(forKey: id) { body(&settled.values[place]) }
  }

  /// An instance has done what messages ask for, whether anybody hears of it or not.
  ///
  /// Done twice is a message that is worked on again after it was worked on, whatever has become of it meanwhile; a copy
  /// (the same event in another message) is when any of the two was before. The late work of a dead letter that nobody had
  /// done is its first.
  mutating func worked(_ first: Int64, _ attempt: UInt16) {
    guard let members = members(first, attempt) else { return worked(first) }
    for id in members { worked(id) }
  }

  private mutating func worked(_ id: Int64) {
    guard let message = messages[id] ?? settled[id] else { return }
    change(id) { $0.works &+= 1 }
    if message.works > 0 {
      if message.works == 1, !isIdempotent { counts.twice += 1 }
      return
    }
    if message.isDoubled, !doubledDone.insert(message.event).inserted {
      if !isIdempotent { counts.twice += 1 }
      return
    }
    guard isOrdered, message.number > 0 else { return }
    let last = worked[message.client] ?? 0
    if message.number < last { counts.overtaken += 1 } else { worked[message.client] = message.number }
  }

  /// The request that is named by this lease is over; `tries`: how often the service was tried.
  mutating func requestEnded(
    _ first: Int64, attempt: UInt16, loop: Int, _ ending: RequestEnding, tries: UInt8, now: Instant
  ) {
    let key = LeaseKey(id: first, attempt: attempt)
    let pack = batch == 1 ? nil : packs[key]
    let verdict = deliveries[loop].ended(
      status: ending.reason == .none ? ending.status : 0, reason: ending.reason, attempts: tries, retryAfter: nil,
      messages: pack?.leases.count ?? 1, now: now, using: &random)
    guard let pack else { return settle(first, attempt, verdict, now: now) }
    if pack.out == 0 { packs[key] = nil } else { packs[key]?.isOver = true }
    for lease in pack.leases { settle(lease.id, lease.attempt, verdict, now: now) }
  }

  private mutating func settle(_ id: Int64, _ attempt: UInt16, _ verdict: QueueDelivery.Verdict, now: Instant) {
    let settled =
      switch verdict {
      case .ack: queue.ack(id, attempt: attempt, now: now)
      case .giveBack: queue.giveBack(id, attempt: attempt, now: now)
      case .retry(let after):
        queue.nack(id, attempt: attempt, retryAfter: after, isFinal: false, now: now, using: &random)
      case .refused: queue.nack(id, attempt: attempt, retryAfter: nil, isFinal: true, now: now, using: &random)
      }
    note(id, settled, now: now)
  }

  private mutating func note(
    _ id: Int64, _ settled: DeliveryQueue.Settled, now: Instant, isKnown: Bool = false, isPostponed: Bool = false
  ) {
    guard let message = messages[id] else { return }
    if sorted != nil { noteSorted(id, settled) }
    if message.leasedAt >= 0, settled != .lost {
      inFlight.leave(enteredAt: message.leasedAt, now: now.nanoseconds)
      messages[id]?.leasedAt = -1
    }
    switch settled {
    case .done:
      counts.done += 1
      if !isKnown { times.record(now.nanoseconds &- message.acceptedAt) }
    case .dead(let reason):
      counts.dead[Int(reason.rawValue) - 1] += 1
      if !queue.settings.keepsDead { counts.dropped += 1 }
    case .retry:
      // What was postponed was no delivery.
      if isPostponed { counts.leased -= 1 } else { counts.retried += 1 }
      return
    case .givenBack:
      // Nobody was asked: it was no delivery.
      counts.leased -= 1
      return
    case .lost, .extended: return
    }
    messages[id] = nil
    if message.out > 0 { self.settled[id] = message }
    inside.leave(enteredAt: message.acceptedAt, now: now.nanoseconds)
  }

  private mutating func noteSorted(_ id: Int64, _ settled: DeliveryQueue.Settled) {
    switch settled {
    case .done: sorted?.ended(id, isOver: true, into: &going)
    case .dead: sorted?.ended(id, isOver: true, isDead: true, into: &going)
    case .retry, .givenBack: sorted?.ended(id, isOver: false, into: &going)
    case .lost, .extended: return
    }
    leases[id] = nil
  }

  // MARK: - Asking

  func message(_ id: Int64) -> Message? { messages[id] }

  /// Accepted, and neither done, nor kept as dead letters, nor in the queue: nobody will ever work on them.
  var lost: Int64 {
    counts.accepted - counts.done - (counts.dead.reduce(0, +) - counts.dropped) - Int64(queue.count)
  }

  /// What is wrong with it, or nil.
  func violation(at now: Int64) -> String? {
    if let wrong = queue.violation() ?? sorted?.violation() { return wrong }
    for delivery in deliveries {
      if let wrong = delivery.violation() { return wrong }
    }
    // A sum of whole numbers is the same in every order.
    let entries = messages.values.reduce(Int64(0)) { $0 + $1.acceptedAt }
    if let wrong = inside.violation(at: now, inside: Int64(queue.count), entries: entries) { return wrong }
    let out = messages.values.filter { $0.leasedAt >= 0 }
    let since = out.reduce(Int64(0)) { $0 + $1.leasedAt }
    if let wrong = inFlight.violation(at: now, inside: Int64(out.count), entries: since) {
      return "in flight: \(wrong)"
    }
    if out.count != queue.readings.inFlight { return "\(out.count) are out, \(queue.readings.inFlight) in flight" }
    if let one = settled.first(where: { $0.value.out == 0 }) { return "\(one.key) is settled, and kept" }
    if let one = packs.first(where: { $0.value.isOver && $0.value.out == 0 }) { return "\(one.key) is over, and kept" }
    if lost != counts.dropped { return "\(lost) are lost, and \(counts.dropped) were dropped" }
    return counts.outOfOrder == 0 ? nil : "\(counts.outOfOrder) were given out before an earlier one of their key"
  }
}

/// What has happened to a queue's messages since the beginning.
struct QueueCounts: Sendable, Equatable {
  var accepted: Int64 = 0
  /// Turned away, for the queue was full.
  var refused: Int64 = 0
  var leased: Int64 = 0
  var done: Int64 = 0
  /// Put back for another attempt.
  var retried: Int64 = 0
  /// Ended by time: leases that were over, messages that were too old.
  var lapsed: Int64 = 0
  /// Given up: after too many attempts, too old, refused for good.
  var dead: [Int64] = [0, 0, 0]
  /// Of them those that are not kept.
  var dropped: Int64 = 0
  /// Given out after a later one of their key.
  var outOfOrder: Int64 = 0
  /// Worked on after one of their key that was sent later, and worked on twice.
  var overtaken: Int64 = 0
  var twice: Int64 = 0
  /// Of those that are sorted: kept until their turn, known already, not waited for any longer.
  var kept: Int64 = 0
  var known: Int64 = 0
  var skipped: Int64 = 0
}

/// A message on its way to a queue or log.
struct Envelope {
  /// Its chance.
  var key: UInt64
  var client: UInt64
  /// What it is, however often it is sent.
  var event: UInt64
  var number: Int64
  var isDoubled = false
}

/// The worst of a queue since somebody has last looked: how many have waited, and how long it took until they did not.
///
/// A backlog begins with the first that waits and is over when a hundredth of its peak is left; so what waits for a late retry
/// does not keep a backlog of thousands open. Of several the one with the highest peak counts.
struct QueuePeaks: Sendable, Equatable {
  private(set) var most: Int64 = 0
  /// From the highest peak to the end of that backlog, in nanoseconds; −1: it has not ended.
  private(set) var drain: Int64 = 0
  /// How long the one that waited longest has waited.
  var oldest: Int64 = 0
  private var peak: Int64 = 0
  private var peakAt: Int64 = 0
  private var isHighest = false

  init() {}

  mutating func note(_ backlog: Int64, at now: Int64) {
    if backlog > peak {
      peak = backlog
      peakAt = now
      if peak > most {
        most = peak
        drain = -1
        isHighest = true
      }
    } else if peak > 0, backlog <= peak / 100 {
      if isHighest { drain = now - peakAt }
      isHighest = false
      peak = backlog
      peakAt = now
    }
  }

  /// Begins anew with what waits at this moment.
  mutating func forget(_ backlog: Int64, at now: Int64) {
    self = QueuePeaks()
    note(backlog, at: now)
  }
}
