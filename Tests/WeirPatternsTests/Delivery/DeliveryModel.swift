// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// A queue that is obviously right: one plain array, looked through from end to end for every question.
///
/// It says the same as ``DeliveryQueue`` in the same order; only `retryAfter` of a full queue is not modelled.
struct DeliveryModel {
  struct Message {
    var entry: DeliveryQueue.Entry
    var state: DeliveryQueue.State
    var isRetry = false
    var hasLapsed = false
    /// When it began to wait, counted in turns of the model; lower is longer ago.
    var began = 0
    var isRetried: Bool { entry.isPostponed || entry.attempts > entry.givenBack }
  }

  var settings: DeliveryQueue.Settings
  var messages: [Message] = []
  var isPaused = false
  /// Whose turn it is, for each priority.
  var turns = [[UInt64]](repeating: [], count: 10)
  var cell: Int64 = 0
  var pacedUntil = Instant.distantFuture
  private var clock = 0
  private var front = 0

  init(_ settings: DeliveryQueue.Settings) { self.settings = settings }

  private func place(_ id: Int64) -> Int? { messages.firstIndex { $0.entry.id == id } }

  /// Those that may go: all without a key, and the first of each key that has a place.
  func mayGo(without key: UInt64 = 0) -> [Message] {
    var result: [Message] = []
    for message in messages where message.state == .waiting {
      let of = message.entry.key
      if of == 0 {
        result.append(message)
        continue
      }
      if of == key { continue }
      let held = messages.filter { $0.entry.key == of && ($0.state == .inFlight || $0.isRetry) }.count
      if held >= settings.keyAtOnce { continue }
      let isFirst = messages.allSatisfy {
        $0.entry.key != of || $0.state != .waiting || $0.entry.id == message.entry.id || isBefore(message, $0)
      }
      if isFirst { result.append(message) }
    }
    return result
  }

  /// The order within a key.
  private func isBefore(_ a: Message, _ b: Message) -> Bool {
    if a.isRetried != b.isRetried { return a.isRetried }
    if !a.isRetried && a.entry.due != b.entry.due { return a.entry.due < b.entry.due }
    return a.entry.id < b.entry.id
  }

  /// Who has something to go keeps its turn, who has not loses it, who is new comes last.
  private mutating func turn(without key: UInt64 = 0) {
    let going = mayGo(without: key)
    for priority in 0..<10 {
      let tenants = going.filter { Int($0.entry.priority) == priority }.map(\.entry.tenant)
      turns[priority].removeAll { !tenants.contains($0) }
      for tenant in tenants where !turns[priority].contains(tenant) { turns[priority].append(tenant) }
    }
  }

  private mutating func begin(_ index: Int, first: Bool) {
    messages[index].state = .waiting
    if first {
      front -= 1
      messages[index].began = front
    } else {
      clock += 1
      messages[index].began = clock
    }
  }

  mutating func offer(_ entry: DeliveryQueue.Entry, now: Instant) -> Bool {
    let bytes = messages.reduce(0) { $0 + Int($1.entry.bytes) } + Int(entry.bytes)
    if !messages.isEmpty && (messages.count >= settings.length || bytes > settings.bytes) { return false }
    var entry = entry
    entry.due = max(entry.due, now)
    messages.append(Message(entry: entry, state: .delayed))
    if entry.due <= now { begin(messages.count - 1, first: false) }
    turn()
    return true
  }

  mutating func lease(_ max: Int, for length: Int64, now: Instant) -> [DeliveryQueue.Leased] {
    pacedUntil = .distantFuture
    var leased: [DeliveryQueue.Leased] = []
    if isPaused { return [] }
    while leased.count < max, messages.filter({ $0.state == .inFlight }).count < settings.atOnce,
      let priority = (0..<10).last(where: { !turns[$0].isEmpty })
    {
      if let rate = settings.rate {
        let gcra = GCRA(rate: rate, burst: Swift.max(1, Int(rate.perSecond / 10)))
        switch gcra.decide(cell: cell, now: now) {
        case .allow(let next, _): cell = next
        case .refuse(let until):
          pacedUntil = until
          return leased
        }
      }
      let tenant = turns[priority].removeFirst()
      let next = mayGo().filter { $0.entry.tenant == tenant && Int($0.entry.priority) == priority }
        .min { $0.entry.id < $1.entry.id }
      guard let next, let index = place(next.entry.id) else { return leased }
      messages[index].state = .inFlight
      // Its tenant comes last, before who is shown by the key that moves on.
      turn(without: next.entry.key)
      messages[index].entry.attempts += 1
      messages[index].hasLapsed = false
      messages[index].entry.leasedUntil = now.advanced(by: length)
      turn()
      leased.append(
        DeliveryQueue.Leased(
          id: next.entry.id, attempt: messages[index].entry.attempts, until: now.advanced(by: length)))
    }
    return leased
  }

  private mutating func drop(_ index: Int) {
    let isShown = mayGo().contains { $0.entry.id == messages[index].entry.id }
    let key = messages.remove(at: index).entry.key
    // Who is shown next by its key comes last, be it the same tenant.
    if isShown { turn(without: key) }
    turn()
  }

  private func inFlight(_ id: Int64, _ attempt: UInt16) -> Int? {
    guard let index = place(id), messages[index].state == .inFlight, messages[index].entry.attempts == attempt else {
      return nil
    }
    return index
  }

  mutating func ack(_ id: Int64, attempt: UInt16) -> DeliveryQueue.Settled {
    guard let index = place(id), messages[index].entry.attempts == attempt,
      messages[index].state == .inFlight || messages[index].hasLapsed
    else { return .lost }
    drop(index)
    return .done
  }

  private mutating func failed(
    _ index: Int, retryAfter: Int64, now: Instant, using random: inout SeededRandom
  ) -> DeliveryQueue.Settled {
    let counted = Int(messages[index].entry.attempts - messages[index].entry.givenBack)
    if counted >= settings.attempts {
      drop(index)
      return .dead(.attempts)
    }
    let wait = max(Backoff(settings.backoff).wait(after: counted, using: &random), retryAfter)
    let at = now.advanced(by: wait)
    if at >= messages[index].entry.expires {
      drop(index)
      return .dead(.expired)
    }
    messages[index].state = .delayed
    messages[index].isRetry = true
    messages[index].entry.due = at
    messages[index].entry.leasedUntil = nil
    turn()
    return .retry(at: at)
  }

  mutating func nack(
    _ id: Int64, attempt: UInt16, retryAfter: Int64, isFinal: Bool, now: Instant, using random: inout SeededRandom
  ) -> DeliveryQueue.Settled {
    guard let index = inFlight(id, attempt) else { return .lost }
    if isFinal {
      drop(index)
      return .dead(.refused)
    }
    return failed(index, retryAfter: retryAfter, now: now, using: &random)
  }

  mutating func extend(_ id: Int64, attempt: UInt16, by: Int64, now: Instant) -> DeliveryQueue.Settled {
    guard let index = inFlight(id, attempt), let before = messages[index].entry.leasedUntil else { return .lost }
    let until = max(before, now.advanced(by: by))
    messages[index].entry.leasedUntil = until
    return .extended(until: until)
  }

  mutating func giveBack(_ id: Int64, attempt: UInt16) -> DeliveryQueue.Settled {
    guard let index = inFlight(id, attempt) else { return .lost }
    messages[index].entry.givenBack += 1
    messages[index].entry.leasedUntil = nil
    begin(index, first: true)
    turn()
    return .givenBack
  }

  mutating func postpone(_ id: Int64, attempt: UInt16, by: Int64, now: Instant) -> DeliveryQueue.Settled {
    guard let index = inFlight(id, attempt) else { return .lost }
    let at = now.advanced(by: by)
    if at >= messages[index].entry.expires {
      drop(index)
      return .dead(.expired)
    }
    messages[index].state = .delayed
    messages[index].isRetry = true
    messages[index].entry.givenBack += 1
    messages[index].entry.isPostponed = true
    messages[index].entry.due = at
    messages[index].entry.leasedUntil = nil
    turn()
    return .retry(at: at)
  }

  mutating func remove(_ id: Int64) -> Bool {
    guard let index = place(id) else { return false }
    drop(index)
    return true
  }

  private func timer(_ message: Message) -> Instant {
    switch message.state {
    case .inFlight: message.entry.leasedUntil ?? .distantFuture
    case .delayed: min(message.entry.due, message.entry.expires)
    case .waiting: message.entry.expires
    }
  }

  mutating func tick(_ max: Int, now: Instant, using random: inout SeededRandom) -> (Int, [DeliveryQueue.Change]) {
    var done = 0
    var changes: [DeliveryQueue.Change] = []
    while done < max {
      let due = messages.indices.filter { timer(messages[$0]) <= now }
        .min { (timer(messages[$0]), messages[$0].entry.id) < (timer(messages[$1]), messages[$1].entry.id) }
      guard let index = due else { break }
      done += 1
      let id = messages[index].entry.id
      if messages[index].state == .inFlight {
        messages[index].hasLapsed = true
        let settled = failed(index, retryAfter: 0, now: now, using: &random)
        changes.append(.init(id: id, settled: settled))
      } else if messages[index].entry.expires <= now {
        drop(index)
        changes.append(.init(id: id, settled: .dead(.expired)))
      } else {
        messages[index].isRetry = false
        begin(index, first: false)
        turn()
      }
    }
    if pacedUntil <= now { pacedUntil = .distantFuture }
    return (done, changes)
  }

  var nextWake: Instant {
    let first = messages.map { timer($0) }.min() ?? Instant.distantFuture
    return isPaused ? first : min(first, pacedUntil)
  }

  var readings: DeliveryQueue.Readings {
    var readings = DeliveryQueue.Readings()
    for message in messages {
      readings.bytes += Int(message.entry.bytes)
      switch message.state {
      case .waiting: readings.waiting += 1
      case .inFlight: readings.inFlight += 1
      case .delayed:
        readings.delayed += 1
        if message.isRetry { readings.retrying += 1 }
      }
    }
    readings.blocked = readings.waiting - mayGo().count
    readings.oldest = messages.filter { $0.state == .waiting }.min { $0.began < $1.began }?.entry.due
    return readings
  }
}
