// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// When messages fall due, and how fast they leave.
extension DeliveryQueue {
  /// One a message: when its delay, its lease or, while it waits, its life is over.
  struct Timer: Sendable, Equatable, BitwiseCopyable {
    var at: Int64
    var message: Int32
  }

  /// Sets a message's only timer; `Int64.max` for none.
  ///
  /// A heap of four children a node, by time, then id: a million timers are ten levels deep, and the times stand in it.
  mutating func schedule(_ index: Int32, at: Int64) {
    let place = Int(messages[index].timer)
    if at == .max {
      if place >= 0 { unschedule(index, place) }
    } else if place < 0 {
      timers.append(Timer(at: at, message: index))
      rise(timers.count - 1)
    } else {
      let before = timers[place].at
      timers[place].at = at
      if at < before { rise(place) } else { sink(place) }
    }
  }

  private mutating func unschedule(_ index: Int32, _ place: Int) {
    messages[index].timer = -1
    let last = timers.removeLast()
    if place == timers.count { return }
    let before = timers[place]
    timers[place] = last
    // The removed one's own id breaks ties, so its node must still be there: `drop` removes it afterwards.
    if isEarlier(last, before) { rise(place) } else { sink(place) }
  }

  private func isEarlier(_ a: Timer, _ b: Timer) -> Bool {
    a.at != b.at ? a.at < b.at : messages[a.message].id < messages[b.message].id
  }

  private mutating func rise(_ from: Int) {
    var place = from
    let timer = timers[place]
    while place > 0 {
      let parent = (place - 1) / 4
      if !isEarlier(timer, timers[parent]) { break }
      put(timers[parent], at: place)
      place = parent
    }
    put(timer, at: place)
  }

  private mutating func sink(_ from: Int) {
    var place = from
    let timer = timers[place]
    while case let first = place * 4 + 1, first < timers.count {
      var earliest = first
      var child = first + 1
      while child < min(first + 4, timers.count) {
        if isEarlier(timers[child], timers[earliest]) { earliest = child }
        child += 1
      }
      if !isEarlier(timers[earliest], timer) { break }
      put(timers[earliest], at: place)
      place = earliest
    }
    put(timer, at: place)
  }

  private mutating func put(_ timer: Timer, at place: Int) {
    timers[place] = timer
    messages[timer.message].timer = Int32(place)
  }

  /// How fast messages have left lately, and how many were refused and wait outside for the places that fall free.
  struct Drain: Sendable, Equatable, BitwiseCopyable {
    /// The rate is that of the last five seconds, half a window of which is guessed (as in ``SlidingWindow``).
    private static var window: Int64 { 5_000_000_000 }
    private static var shortest: Int64 { 1_000_000_000 }
    private static var longest: Int64 { 60_000_000_000 }

    private var begin: Int64 = 0
    private var current = 0.0
    private var before = 0.0
    /// How many were refused, less those that have left since.
    private var outside = 0.0

    mutating func left(now: Instant) {
      roll(now)
      current += 1
      outside = max(0, outside - 1)
    }

    /// So many were refused: when their turn will be if those who were refused before take theirs.
    ///
    /// With one answer for all they would come back together, for one place.
    mutating func refused(_ count: Int, now: Instant) -> Int64 {
      roll(now)
      let part = Double(now.nanoseconds - begin) / Double(Drain.window)
      let perNanosecond = (before * (1 - part) + current) / Double(Drain.window)
      if perNanosecond <= 0 { return Drain.longest }
      // More than the longest wait brings are not remembered: most of them will not come again.
      outside = min(outside + Double(count), max(1, perNanosecond * Double(Drain.longest)))
      return max(Drain.shortest, Int64(min(outside / perNanosecond, Double(Drain.longest))))
    }

    private mutating func roll(_ now: Instant) {
      let passed = now.nanoseconds - begin
      if passed < Drain.window { return }
      before = passed < 2 * Drain.window ? current : 0
      current = 0
      begin = now.nanoseconds - passed % Drain.window
    }
  }
}
