// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// The incident of the phantom deductions: a glitch of the network delays some events and doubles others, and the stock is
/// wrong for days, for orders that nobody paid.
///
/// Each order tells: 1 placed, 2 deducted, 3 paid or declined. The consumer takes the item from the stock at 2, and
/// puts it back at 3 if the order was declined and it has taken it: right in order, wrong in any other.
struct PhantomDeductionTests {
  private enum Kind: Int64 { case placed = 1, deducted, declined, paid }
  private struct Event {
    var order: UInt64
    var kind: Kind
    var at: Instant
    var number: Int64 { min(kind.rawValue, 3) }
    var id: Deduplicator.ID { .init(high: order, low: UInt64(number)) }
  }

  /// What the shop's stock keeper does with an event; it knows nothing of numbers.
  private struct Stock {
    var deductions: [UInt64: Int] = [:]

    mutating func take(_ event: Event) {
      switch event.kind {
      case .placed, .paid: break
      case .deducted: deductions[event.order, default: 0] += 1
      case .declined:
        if let taken = deductions[event.order], taken > 0 { deductions[event.order] = taken - 1 }
      }
    }
  }

  private static let orders = 10_000
  /// Every third order is declined.
  private static func isPaid(_ order: UInt64) -> Bool { order % 3 != 0 }

  /// The events as they arrive: 800 deductions of declined orders come after the word of the bank, 400 paid ones twice.
  private static func arrivals(seed: UInt64) -> [Event] {
    var random = SeededRandom(seed: seed, stream: "phantom")
    var events: [Event] = []
    var late = 0
    var doubled = 0
    for order in 0..<UInt64(orders) {
      let placed = Instant(nanoseconds: Int64(order) * 20_000_000)
      for kind in [Kind.placed, .deducted, isPaid(order) ? .paid : .declined] {
        // A second lies between an order's events, and the network takes up to half of one.
        var event = Event(order: order, kind: kind, at: placed.advanced(by: min(kind.rawValue, 3) * 1_000_000_000))
        event.at = event.at.advanced(by: random.nanoseconds(upTo: 500_000_000))
        if kind == .deducted && order >= 3_000 {
          if !isPaid(order) && late < 800 {
            late += 1
            event.at = event.at.advanced(by: 2_000_000_000 + random.nanoseconds(upTo: 5_000_000_000))
          } else if isPaid(order) && doubled < 400 {
            doubled += 1
            var twin = event
            twin.at = event.at.advanced(by: random.nanoseconds(upTo: 20_000_000_000))
            events.append(twin)
          }
        }
        events.append(event)
      }
    }
    return events.sorted { ($0.at.nanoseconds, $0.order, $0.number) < ($1.at.nanoseconds, $1.order, $1.number) }
  }

  /// How many items are missing that nobody bought.
  private static func phantoms(_ stock: Stock) -> Int {
    (0..<UInt64(orders)).reduce(0) { sum, order in
      sum + abs((stock.deductions[order] ?? 0) - (isPaid(order) ? 1 : 0))
    }
  }

  @Test("without sequence numbers and ids: 1 200 phantom deductions", arguments: PatternSeeds.seeds(3))
  func without(seed: UInt64) {
    var stock = Stock()
    for event in Self.arrivals(seed: seed) { stock.take(event) }
    #expect(Self.phantoms(stock) == 1_200)
  }

  @Test("ids alone help against the doubled ones: 800 are left", arguments: PatternSeeds.seeds(3))
  func idsAlone(seed: UInt64) {
    var stock = Stock()
    var seen = Deduplicator()
    for event in Self.arrivals(seed: seed) where seen.admit(event.id, now: event.at) == .first { stock.take(event) }
    #expect(Self.phantoms(stock) == 800)
  }

  @Test("with the sequencer: 0, and nothing skipped", arguments: PatternSeeds.seeds(3))
  func with(seed: UInt64) {
    let arrivals = Self.arrivals(seed: seed)
    var stock = Stock()
    var sequencer = Sequencer()
    var changes: [Sequencer.Change] = []
    var most = 0
    for (token, event) in arrivals.enumerated() {
      var ready: [Sequencer.Ready] = []
      while sequencer.tick(16, now: event.at, into: &changes, ready: &ready) == 16 {}
      let answer = sequencer.offer(event.number, of: event.order, token: Int64(token), now: event.at, into: &ready)
      #expect(answer != .full && answer != .tooManyStreams)
      for one in ready { stock.take(arrivals[Int(one.token)]) }
      most = max(most, sequencer.kept)
    }
    #expect(Self.phantoms(stock) == 0 && changes.isEmpty && sequencer.kept == 0)
    #expect(most > 50, "\(most) were kept at the same time")
    #expect(sequencer.violation() == nil)
  }

  /// A delay beyond the wait: what comes too late is told as skipped, not taken out of order.
  @Test("with too short a wait the late ones are told, and 0 are wrong without a word")
  func impatient() {
    let arrivals = Self.arrivals(seed: 1)
    var settings = Sequencer.Settings()
    settings.wait = .seconds(1)
    var stock = Stock()
    var sequencer = Sequencer(settings)
    var changes: [Sequencer.Change] = []
    for (token, event) in arrivals.enumerated() {
      var ready: [Sequencer.Ready] = []
      while sequencer.tick(16, now: event.at, into: &changes, ready: &ready) == 16 {}
      _ = sequencer.offer(event.number, of: event.order, token: Int64(token), now: event.at, into: &ready)
      for one in ready { stock.take(arrivals[Int(one.token)]) }
    }
    let told = Set(changes.map(\.stream))
    #expect(changes.count == told.count && told.count > 100 && changes.allSatisfy { $0.first == 2 && $0.last == 2 })
    #expect(Self.phantoms(stock) == 0, "skipped with their compensation: nothing was taken, nothing given back")
  }
}
