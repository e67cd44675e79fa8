// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// How leases end.
extension DeliveryQueue {
  /// The work is done.
  ///
  /// After the lease is over it still counts while nobody else has the message: better a late answer than a second
  /// execution.
  public mutating func ack(_ id: Int64, attempt: UInt16, now: Instant) -> Settled {
    let index = messages.find(id)
    if index < 0 || attempt != messages[index].attempts { return .lost }
    if messages[index].state != .inFlight && !messages[index].hasLapsed { return .lost }
    drop(index, leaving: now)
    return .done
  }

  /// The work has failed: tried again after the backoff, or after `retryAfter` nanoseconds if that is longer, or dead.
  ///
  /// `isFinal`: trying again cannot help. What would be tried again only when it is too old is dead at once, so that it
  /// does not hold its key for nothing. (A backoff of the kind `decorrelated` does not grow here: nobody remembers the
  /// wait before.)
  public mutating func nack(
    _ id: Int64, attempt: UInt16, retryAfter: Int64? = nil, isFinal: Bool = false, now: Instant,
    using random: inout SeededRandom
  ) -> Settled {
    let index = inFlight(id, attempt)
    if index < 0 { return .lost }
    if isFinal {
      drop(index, leaving: now)
      return .dead(.refused)
    }
    return failed(index, retryAfter: retryAfter ?? 0, now: now, using: &random)
  }

  /// The work needs longer: the lease lasts for `by` nanoseconds from now, and never shorter than it did.
  public mutating func extend(_ id: Int64, attempt: UInt16, by: Int64, now: Instant) -> Settled {
    let index = inFlight(id, attempt)
    if index < 0 { return .lost }
    let until = max(Instant(nanoseconds: messages[index].until), now.advanced(by: max(0, by)))
    messages[index].until = until.nanoseconds
    schedule(index, at: until.nanoseconds)
    return .extended(until: until)
  }

  /// It was not worked on (its pusher ends): it waits again at the front of its key, and the attempt does not count.
  ///
  /// A lease's number is never given out twice, so after 65 535 of them it is dead.
  public mutating func giveBack(_ id: Int64, attempt: UInt16, now: Instant) -> Settled {
    let index = inFlight(id, attempt)
    if index < 0 { return .lost }
    if messages[index].attempts == .max {
      drop(index, leaving: now)
      return .dead(.attempts)
    }
    unstate(index)
    messages[index].givenBack += 1
    wait(index, first: true)
    return .givenBack
  }

  /// It has not failed, and goes on later only, after `by` nanoseconds: the attempt does not count, its key waits for it.
  ///
  /// A lease's number is never given out twice, so after 65 535 of them it is dead.
  public mutating func postpone(_ id: Int64, attempt: UInt16, by: Int64, now: Instant) -> Settled {
    let index = inFlight(id, attempt)
    if index < 0 { return .lost }
    if messages[index].attempts == .max {
      drop(index, leaving: now)
      return .dead(.attempts)
    }
    let at = now.advanced(by: max(0, by))
    if at.nanoseconds >= messages[index].expires {
      drop(index, leaving: now)
      return .dead(.expired)
    }
    unstate(index)
    messages[index].givenBack += 1
    messages[index].isPostponed = true
    messages[index].due = at.nanoseconds
    delay(index, isRetry: true)
    return .retry(at: at)
  }

  /// Does what has fallen due, up to `max` of it, and says how much it was; less than `max`: it is all done.
  ///
  /// The delayed begin to wait; leases that are over have failed; what is too old is dead, unless it is in flight.
  @discardableResult
  public mutating func tick(
    _ max: Int, now: Instant, using random: inout SeededRandom, into changes: inout [Change]
  ) -> Int {
    var done = 0
    while done < max, let timer = timers.first, timer.at <= now.nanoseconds {
      done += 1
      let index = timer.message
      let id = messages[index].id
      if messages[index].state == .inFlight {
        messages[index].hasLapsed = true
        let settled = failed(index, retryAfter: 0, now: now, using: &random)
        changes.append(Change(id: id, settled: settled))
      } else if messages[index].expires <= now.nanoseconds {
        drop(index, leaving: now)
        changes.append(Change(id: id, settled: .dead(.expired)))
      } else {
        unstate(index)
        wait(index, first: false)
      }
    }
    paceReached(now: now)
    return done
  }

  /// An operator takes a message out, whatever its state; false if it is not here.
  public mutating func remove(_ id: Int64) -> Bool {
    let index = messages.find(id)
    if index < 0 { return false }
    drop(index, leaving: nil)
    return true
  }

  private func inFlight(_ id: Int64, _ attempt: UInt16) -> Int32 {
    let index = messages.find(id)
    return index >= 0 && messages[index].state == .inFlight && messages[index].attempts == attempt ? index : -1
  }

  private mutating func failed(
    _ index: Int32, retryAfter: Int64, now: Instant, using random: inout SeededRandom
  ) -> Settled {
    let attempts = Int(messages[index].attempts) - Int(messages[index].givenBack)
    if attempts >= max(1, settings.attempts) || messages[index].attempts == .max {
      drop(index, leaving: now)
      return .dead(.attempts)
    }
    let at = now.advanced(by: max(backoff.wait(after: attempts, using: &random), retryAfter))
    if at.nanoseconds >= messages[index].expires {
      drop(index, leaving: now)
      return .dead(.expired)
    }
    unstate(index)
    messages[index].due = at.nanoseconds
    delay(index, isRetry: true)
    return .retry(at: at)
  }
}
