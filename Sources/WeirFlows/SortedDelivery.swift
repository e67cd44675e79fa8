// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What stands between the events that a group has been given and their consumer: each once, and in the order of the
/// numbers that they carry.
///
/// The queue's order by key is the order in which events *came*; what was held up on its way to us came late, and what was
/// sent again came twice. Here the order in which they *happened* is made again ([Sequencer](../WeirPatterns/Delivery/Sequencer.swift),
/// [Deduplicator](../WeirPatterns/Delivery/Deduplicator.swift)). One value a group; the simulator drives it.
///
///     lease ─▶ came ──▶ its turn, and a place is free ─▶ call ─▶ ended ─▶ done or dead: the next of its stream
///                 ├──▶ its turn has not come: kept, its lease extended by the driver │ failed: leased again, its turn stays
///                 ├──▶ it has come before: acked without a call
///                 └──▶ too late, or no room: as the answer says
///
/// An event is named by its `token`, the number of its message; the driver keeps its lease and extends it while it is kept.
///
/// ## Invariants
/// 1. Of a stream at most one event is with the consumer, and their numbers rise; a failed one is tried again before the next.
/// 2. At most `atOnce` are with the consumer.
/// 3. What is thrown away unseen has been handed on before: the same id within the window, or a number that has passed and
///    whose event nobody can tell from a copy (no `dedup`). What is late is said to be late.
public struct SortedDelivery: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Nil: events go on in the order in which they come.
    public var sequence: Sequencer.Settings?
    /// Nil: what comes twice goes on twice.
    public var dedup: Deduplicator.Settings?
    /// With the consumer at the same time.
    public var atOnce = 64

    public init(sequence: Sequencer.Settings? = nil, dedup: Deduplicator.Settings? = nil, atOnce: Int = 64) {
      self.sequence = sequence
      self.dedup = dedup
      self.atOnce = atOnce
    }

    /// How many leases it may hold: what is kept, and what is with the consumer.
    public var leases: Int { atOnce + (sequence?.buffer ?? 0) }
  }

  public struct Event: Sendable, Equatable, BitwiseCopyable {
    public var token: Int64
    public var id: Deduplicator.ID
    /// A hash of its key.
    public var stream: UInt64
    /// Nil: it carries none, and goes on as it comes.
    public var number: Int64?

    public init(token: Int64, id: Deduplicator.ID, stream: UInt64, number: Int64?) {
      self.token = token
      self.id = id
      self.stream = stream
      self.number = number
    }
  }

  /// How long what there was no room for stays away, in nanoseconds: less than what a gap is waited for, and a full buffer is
  /// not asked a thousand times a second.
  public static let fullRest: Int64 = 1_000_000_000

  public enum Answer: Sendable, Equatable {
    /// It is among those that go now, or will be.
    case taken
    /// It has come before: done, without a call.
    case duplicate
    /// Those behind it were handed on, after the wait: a dead letter, for a human to look at.
    case late
    /// No room to keep it: it is postponed by ``SortedDelivery/fullRest``, and comes again. It has not failed.
    case full
  }

  private struct Held: Sendable, Equatable, BitwiseCopyable {
    var id: Deduplicator.ID
    var stream: UInt64
    var isSorted: Bool
    /// Its turn has come: it is in its stream's line, or on its way.
    var isTurn: Bool
    /// It is with the consumer, or goes as soon as a place is free.
    var isOut = false
  }

  public let settings: Settings
  private var sequencer: Sequencer?
  private var dedup: Deduplicator?
  /// By token; looked up only.
  private var held: [Int64: Held] = [:]
  /// By stream: those whose turn has come, the first of them with the consumer, or waiting for its retry.
  private var lines: [UInt64: [Int64]] = [:]
  /// They may go, and no place is free.
  private var waiting: [Int64] = []
  /// How many are with the consumer.
  public private(set) var out = 0
  /// What time has done: gaps that were skipped, streams that have stopped.
  private var changes: [Sequencer.Change] = []
  private var ready: [Sequencer.Ready] = []

  public init(_ settings: Settings) {
    self.settings = settings
    sequencer = settings.sequence.map { Sequencer($0) }
    dedup = settings.dedup.map { Deduplicator($0) }
  }

  /// How many are held, those with the consumer included.
  public var count: Int { held.count }

  /// When ``tick(now:into:)`` may have something to do.
  public var nextWake: Instant { sequencer?.nextWake ?? .distantFuture }

  // MARK: Inputs

  /// An event was leased; what is to be delivered now is appended to `go`.
  public mutating func came(_ event: Event, now: Instant, into go: inout [Int64]) -> Answer {
    if let known = held[event.token] {
      // Leased again: after a failure, or because a lease was over.
      if known.isTurn && !known.isOut && (!known.isSorted || lines[known.stream]?.first == event.token) {
        start(event.token, &go)
      }
      return .taken
    }
    if let answer = refused(event, now: now) { return answer }
    held[event.token] = Held(
      id: event.id, stream: event.stream, isSorted: sequencer != nil && event.number != nil, isTurn: false)
    guard sequencer != nil, let number = event.number else {
      held[event.token]?.isTurn = true
      start(event.token, &go)
      return .taken
    }
    ready.removeAll(keepingCapacity: true)
    let word = sequencer?.offer(number, of: event.stream, token: event.token, now: now, into: &ready) ?? .full
    let answer = SortedDelivery.answer(word, tellsCopies: dedup != nil)
    switch answer {
    case .taken: line(&go)
    case .duplicate: held[event.token] = nil
    case .late, .full:
      held[event.token] = nil
      dedup?.forget(event.id)
    }
    return answer
  }

  /// What the sequencer's word means for an event that is no known copy; `tellsCopies`: those were told apart by their ids.
  ///
  /// The state process asks the same, which sorts the events of a group before they are in its queue.
  public static func answer(_ word: Sequencer.Answer, tellsCopies: Bool) -> Answer {
    switch word {
    case .delivered, .kept: .taken
    // With ids we would have known a copy: this one was never handed on.
    case .duplicate: tellsCopies ? .late : .duplicate
    case .full, .tooManyStreams: .full
    }
  }

  private mutating func refused(_ event: Event, now: Instant) -> Answer? {
    switch dedup?.admit(event.id, now: now) {
    case .first?, nil: nil
    case .duplicate?: .duplicate
    case .full?: .full
    }
  }

  /// The delivery of an event is over; `isOver`: it is done or dead, and does not come again.
  public mutating func ended(_ token: Int64, isOver: Bool, isDead: Bool = false, into go: inout [Int64]) {
    guard let event = held[token] else { return }
    if event.isOut {
      out -= 1
      held[token]?.isOut = false
    }
    if isOver {
      held[token] = nil
      // A human may send it again.
      if isDead { dedup?.forget(event.id) }
      if event.isSorted { pass(event.stream, token, &go) }
    }
    fill(&go)
  }

  /// Time has passed; what was waited for in vain is told.
  public mutating func tick(now: Instant, into go: inout [Int64]) -> [Sequencer.Change] {
    changes.removeAll(keepingCapacity: true)
    ready.removeAll(keepingCapacity: true)
    let most = 1024
    while let looked = sequencer?.tick(most, now: now, into: &changes, ready: &ready), looked == most {}
    line(&go)
    return changes
  }

  // MARK: Helpers

  /// What the sequencer has handed on stands in its stream's line; the first of a line goes.
  private mutating func line(_ go: inout [Int64]) {
    for one in ready {
      // Dead while it was kept: its turn passes.
      guard held[one.token] != nil else { continue }
      held[one.token]?.isTurn = true
      lines[one.stream, default: []].append(one.token)
      if lines[one.stream]?.count == 1 { start(one.token, &go) }
    }
  }

  private mutating func pass(_ stream: UInt64, _ token: Int64, _ go: inout [Int64]) {
    guard var line = lines[stream], let place = line.firstIndex(of: token) else { return }
    line.remove(at: place)
    lines[stream] = line.isEmpty ? nil : line
    if place == 0, let next = line.first { start(next, &go) }
  }

  private mutating func start(_ token: Int64, _ go: inout [Int64]) {
    guard out < settings.atOnce else {
      if !waiting.contains(token) { waiting.append(token) }
      return
    }
    out += 1
    held[token]?.isOut = true
    go.append(token)
  }

  private mutating func fill(_ go: inout [Int64]) {
    while out < settings.atOnce, !waiting.isEmpty {
      let token = waiting.removeFirst()
      if let event = held[token], !event.isOut { start(token, &go) }
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if let wrong = sequencer?.violation() ?? dedup?.violation() { return wrong }
    if out < 0 || out > max(0, settings.atOnce) { return "\(out) are with the consumer" }
    let seen = held.values.count { $0.isOut }
    return seen == out ? nil : "\(seen) are out, \(out) are counted"
  }
}
