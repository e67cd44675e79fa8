// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Hands on the events of each stream in the order of their numbers, each once, though they come late, early and twice.
///
/// Source: Tanenbaum and Wetherall, *Computer Networks*, 5th ed. (2011), §3.4.3, the receiver's window of selective repeat;
/// RFC 4737 §3 for what *reordered* means. Each stream counts its events without holes (one order's events: 1, 2, 3 …).
///
///     number = next       handed on, and all kept ones that follow it
///     number > next       kept until those before it have come ──`wait` over──▶ skip: told, then handed on
///     number < next, or kept already       duplicate                        └▶ stop: told, kept until they come
///
/// It holds no events: a `token` names what the owner keeps. What it has handed on (`position`) is the owner's to write down,
/// best with what the event has changed in one transaction, and to `restore`.
///
/// ## Invariants
/// 1. Of a stream the numbers handed on rise, whatever comes; without a skip they have no hole.
/// 2. At most `buffer` are kept, none further than `ahead` from what is missing; memory is bounded by these and `streams`.
/// 3. A gap is waited for `wait` from the first event that came from beyond it, be it kept or not; holes wait side by side.
///    What was refused gets `wait` anew when it is its turn, for it was told to come again.
/// 4. With `skip` no sequence of inputs keeps an event for ever: each gap ends, and `nextWake` says when to look.
public struct Sequencer: Sendable, Equatable {
  /// What becomes of a stream in which an event is missing for too long.
  public enum AtGap: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    /// It goes on without it.
    case skip
    /// It waits until the missing one has come, or an operator says `skip`.
    case stop
  }

  public struct Settings: Sendable, Equatable {
    /// The number of a stream's first event.
    public var first: Int64 = 1
    /// How long a gap is waited for: the 30 s of a lease, after which a lost delivery is made again.
    public var wait = Duration.seconds(30)
    /// What then.
    public var atGap = AtGap.skip
    /// How far beyond the missing one an event is kept: a thousand are more than one stream brings in `wait` in most trades.
    public var ahead = 1_000
    /// How many are kept, of all streams: 10 000 tokens of 24 bytes.
    public var buffer = 10_000
    /// How many streams are known: a million of 32 bytes.
    public var streams = 1_000_000

    public init() {}
  }

  public enum Answer: Sendable, Equatable {
    /// It is in order, and handed on, with what was kept for it.
    case delivered
    /// Others are missing before it; they are waited for.
    case kept
    /// It was handed on, or is kept already, or came after it was skipped.
    case duplicate
    /// No room to keep it: it has to come again. The gap is waited for as if it were kept.
    case full
    /// One stream too many; `forget` some that have ended.
    case tooManyStreams
  }

  /// An event whose turn it is.
  public struct Ready: Sendable, Equatable, BitwiseCopyable {
    public var stream: UInt64
    public var number: Int64
    public var token: Int64

    public init(stream: UInt64, number: Int64, token: Int64) {
      self.stream = stream
      self.number = number
      self.token = token
    }
  }

  /// What time has done to a stream in which events are missing, from the first to the last of them.
  public struct Change: Sendable, Equatable, BitwiseCopyable {
    public var stream: UInt64
    public var atGap: AtGap
    public var first: Int64
    public var last: Int64

    public init(stream: UInt64, atGap: AtGap, first: Int64, last: Int64) {
      self.stream = stream
      self.atGap = atGap
      self.first = first
      self.last = last
    }
  }

  private struct Stream: Keyed {
    var key: UInt64
    var next: Int64
    var gap: Int32 = -1
    var chain: Int32 = -1

    static func hash(_ key: UInt64) -> UInt64 { DeliveryQueue.mixed(key) }
  }

  private struct Kept: Sendable, Equatable, BitwiseCopyable {
    var number: Int64
    var token: Int64
    /// When the first event came that is not before it: so long the gap below it is known.
    var since: Int64
  }

  /// A stream in which something is missing; the places are used again.
  private struct Gap: Sendable, Equatable {
    var stream: Int32
    /// The highest number first, so that the lowest leaves at the end.
    var kept: [Kept] = []
    /// The lowest number that found no room, and when the first such came.
    var refused = Int64.max
    var refusedSince = Int64.max
    /// When one that was refused became the missing one: it was told to come again, and has `wait` for that.
    var restart: Int64 = 0
    var hasTimer = false
    var isStopped = false
    var isOpen = true
  }

  private struct Timer: Sendable, Equatable, BitwiseCopyable {
    var at: Int64
    var gap: Int32
  }

  public let settings: Settings
  /// How many events are kept.
  public private(set) var kept = 0
  private let wait: Int64
  private var streams = KeyedSlab<Stream>()
  private var gaps: [Gap] = []
  private var freeGaps: [Int32] = []
  /// At most one a gap's place, in a binary heap.
  ///
  /// It is never later than what it stands for: a gap's time only grows.
  private var timers: [Timer] = []

  public init(_ settings: Settings = Settings()) {
    self.settings = settings
    wait = max(0, settings.wait.inNanoseconds)
  }

  /// How many streams are known.
  public var streamCount: Int { streams.count }

  /// In how many streams something is missing.
  public var gapCount: Int { gaps.count - freeGaps.count }

  /// When `tick` may have something to do; maybe a little before that.
  public var nextWake: Instant { timers.first.map { Instant(nanoseconds: $0.at) } ?? .distantFuture }

  /// The number that is next in a stream: all before it were handed on, or skipped.
  public func position(of stream: UInt64) -> Int64? {
    let index = streams.find(stream)
    return index < 0 ? nil : streams[index].next
  }

  /// Whether a stream waits for an operator.
  public func isStopped(_ stream: UInt64) -> Bool {
    let index = streams.find(stream)
    return index >= 0 && streams[index].gap >= 0 && gaps[Int(streams[index].gap)].isStopped
  }

  /// Whether something is missing in a stream.
  public func isWaiting(_ stream: UInt64) -> Bool {
    let index = streams.find(stream)
    return index >= 0 && streams[index].gap >= 0
  }

  // MARK: Inputs

  /// An event has come; what is handed on because of it is appended to `ready`, in order.
  public mutating func offer(
    _ number: Int64, of stream: UInt64, token: Int64, now: Instant, into ready: inout [Ready]
  ) -> Answer {
    var index = streams.find(stream)
    if index < 0 {
      if number < settings.first { return .duplicate }
      if streams.count >= settings.streams { return .tooManyStreams }
      index = streams.insert(Stream(key: stream, next: settings.first))
    }
    let next = streams[index].next
    if number < next { return .duplicate }
    if number == next {
      ready.append(Ready(stream: stream, number: number, token: token))
      streams[index].next = number &+ 1
      handOn(index, now: now, into: &ready)
      return .delivered
    }
    return keep(number, token, index, now: now)
  }

  /// Ends the waiting for what is missing too long, up to `max` times, and says how often it looked; less: it is all done.
  @discardableResult
  public mutating func tick(
    _ max: Int, now: Instant, into changes: inout [Change], ready: inout [Ready]
  ) -> Int {
    var done = 0
    while done < max, let timer = timers.first, timer.at <= now.nanoseconds {
      done += 1
      pop()
      let place = Int(timer.gap)
      gaps[place].hasTimer = false
      if !gaps[place].isOpen { continue }
      if deadline(place) > now.nanoseconds {
        arm(place)
        continue
      }
      let index = gaps[place].stream
      changes.append(
        Change(
          stream: streams[index].key, atGap: settings.atGap, first: streams[index].next, last: beyond(place) - 1))
      switch settings.atGap {
      case .stop: gaps[place].isStopped = true
      case .skip: jump(place, now: now, into: &ready)
      }
    }
    return done
  }

  /// An operator goes on without what is missing in a stream; nil if nothing is.
  public mutating func skip(_ stream: UInt64, now: Instant, into ready: inout [Ready]) -> Change? {
    let index = streams.find(stream)
    if index < 0 || streams[index].gap < 0 { return nil }
    let place = Int(streams[index].gap)
    let change = Change(stream: stream, atGap: .skip, first: streams[index].next, last: beyond(place) - 1)
    jump(place, now: now, into: &ready)
    return change
  }

  /// Goes on with a stream where it was when it was written down; false: there is no room for another.
  public mutating func restore(_ stream: UInt64, position: Int64) -> Bool {
    forget(stream)
    if streams.count >= settings.streams { return false }
    _ = streams.insert(Stream(key: stream, next: position))
    return true
  }

  /// A stream has ended; what of it is kept is forgotten.
  public mutating func forget(_ stream: UInt64) {
    let index = streams.find(stream)
    if index < 0 { return }
    if streams[index].gap >= 0 { close(Int(streams[index].gap)) }
    streams.remove(index)
  }

  // MARK: Gaps

  private mutating func keep(_ number: Int64, _ token: Int64, _ index: Int32, now: Instant) -> Answer {
    let place = open(index)
    // The highest first: what comes is mostly the highest, so the search begins there and is short.
    var at = 0
    while at < gaps[place].kept.count, gaps[place].kept[at].number > number { at += 1 }
    if at < gaps[place].kept.count, gaps[place].kept[at].number == number { return .duplicate }
    let (distance, overflow) = number.subtractingReportingOverflow(streams[index].next)
    if overflow || distance > Int64(settings.ahead) || kept >= settings.buffer {
      gaps[place].refused = min(gaps[place].refused, number)
      gaps[place].refusedSince = min(gaps[place].refusedSince, now.nanoseconds)
      arm(place)
      return .full
    }
    var since = min(now.nanoseconds, at > 0 ? gaps[place].kept[at - 1].since : .max)
    if gaps[place].refused > number { since = min(since, gaps[place].refusedSince) }
    gaps[place].kept.insert(Kept(number: number, token: token, since: since), at: at)
    kept += 1
    arm(place)
    return .kept
  }

  /// Hands on what follows the stream's position; its gap is closed, or another one.
  private mutating func handOn(_ index: Int32, now: Instant, into ready: inout [Ready]) {
    let place = Int(streams[index].gap)
    if place < 0 { return }
    gaps[place].isStopped = false
    while let lowest = gaps[place].kept.last, lowest.number == streams[index].next {
      gaps[place].kept.removeLast()
      kept -= 1
      ready.append(Ready(stream: streams[index].key, number: lowest.number, token: lowest.token))
      streams[index].next += 1
    }
    if gaps[place].refused <= streams[index].next {
      // Others that were refused may lie beyond: the first of them to come again tells of its gap.
      gaps[place].restart = now.nanoseconds
      gaps[place].refused = .max
      gaps[place].refusedSince = .max
    }
    if gaps[place].kept.isEmpty && gaps[place].refused == .max { close(place) } else { arm(place) }
  }

  private mutating func jump(_ place: Int, now: Instant, into ready: inout [Ready]) {
    let index = gaps[place].stream
    streams[index].next = beyond(place)
    handOn(index, now: now, into: &ready)
  }

  /// The lowest number that has come from beyond the gap.
  private func beyond(_ place: Int) -> Int64 { min(gaps[place].kept.last?.number ?? .max, gaps[place].refused) }

  private func deadline(_ place: Int) -> Int64 {
    let since = min(gaps[place].kept.last?.since ?? .max, gaps[place].refusedSince)
    return Instant(nanoseconds: max(since, gaps[place].restart)).advanced(by: wait).nanoseconds
  }

  private mutating func open(_ index: Int32) -> Int {
    if streams[index].gap >= 0 { return Int(streams[index].gap) }
    let place: Int
    if let free = freeGaps.popLast() {
      place = Int(free)
      let hasTimer = gaps[place].hasTimer
      gaps[place] = Gap(stream: index, hasTimer: hasTimer)
    } else {
      place = gaps.count
      gaps.append(Gap(stream: index))
    }
    streams[index].gap = Int32(place)
    return place
  }

  private mutating func close(_ place: Int) {
    kept -= gaps[place].kept.count
    streams[gaps[place].stream].gap = -1
    gaps[place] = Gap(stream: -1, hasTimer: gaps[place].hasTimer, isOpen: false)
    freeGaps.append(Int32(place))
  }

  // MARK: Timers

  private mutating func arm(_ place: Int) {
    if gaps[place].hasTimer || gaps[place].isStopped { return }
    gaps[place].hasTimer = true
    timers.append(Timer(at: deadline(place), gap: Int32(place)))
    var child = timers.count - 1
    while child > 0, case let parent = (child - 1) / 2, timers[child].at < timers[parent].at {
      timers.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func pop() {
    timers.swapAt(0, timers.count - 1)
    timers.removeLast()
    var parent = 0
    while case let left = 2 * parent + 1, left < timers.count {
      let right = left + 1
      let child = right < timers.count && timers[right].at < timers[left].at ? right : left
      if timers[parent].at <= timers[child].at { return }
      timers.swapAt(parent, child)
      parent = child
    }
  }

  /// What is wrong with this state, or nil; looks at everything.
  public func violation() -> String? {
    var seen = 0
    for (place, gap) in gaps.enumerated() where gap.isOpen {
      let stream = streams[gap.stream]
      if stream.gap != place { return "stream \(stream.key) does not know its gap" }
      if gap.kept.isEmpty && gap.refused == .max { return "stream \(stream.key) waits for nothing" }
      seen += gap.kept.count
      if beyond(place) <= stream.next {
        return "stream \(stream.key) keeps \(beyond(place)), and \(stream.next) is next"
      }
      for (higher, lower) in zip(gap.kept, gap.kept.dropFirst()) {
        if higher.number <= lower.number { return "stream \(stream.key) keeps \(lower.number) before \(higher.number)" }
        if higher.since < lower.since { return "stream \(stream.key): \(lower.number) is waited for too long" }
      }
      if !gap.hasTimer && !gap.isStopped { return "stream \(stream.key) has no timer" }
    }
    if seen != kept { return "\(seen) are kept, \(kept) are counted" }
    if kept > settings.buffer { return "\(kept) are kept" }
    if streams.count > settings.streams { return "\(streams.count) streams" }
    for (place, timer) in timers.enumerated() {
      if place > 0 && timers[(place - 1) / 2].at > timer.at { return "the timers are not a heap" }
      if !gaps[Int(timer.gap)].hasTimer { return "a gap has a timer and does not know it" }
      if gaps[Int(timer.gap)].isOpen && timer.at > deadline(Int(timer.gap)) { return "a timer is late" }
    }
    let timed = gaps.count { $0.hasTimer }
    return timed == timers.count ? nil : "\(timed) gaps have \(timers.count) timers"
  }
}
