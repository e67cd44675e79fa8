// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// When a job runs: `0 3 * * *`, `@daily`, or `every 15m`; and what becomes of the runs that nobody was there for.
///
/// Source: POSIX.1-2024 *crontab* (five fields; when both days are named, either will do), Vixie cron 3.0 (names, ranges,
/// steps, `@daily`, and what happens when the clocks change).
///
///     minute 0-59   hour 0-23   day of month 1-31   month 1-12 or jan-dec   day of week 0-7 or sun-sat (0 and 7: Sunday)
///       *  all      5  one      1-5  from, to       */10, 8-18/2  each so many of them            1,15,20-25  a list
///
/// What could surprise:
/// - A day matches when **either** the day of the month or the day of the week does, if both are named. Only a bare `*` (or
///   `*/1`) names nothing: `*/2` does, as in POSIX and in Kubernetes; Vixie cron takes it for a star.
/// - `every 15m` is a length, not a time of day: the multiples of it since 1970-01-01T00:00Z. So it needs no memory, is the
///   same on every node and after each restart, and no zone nor change of clocks moves it.
/// - A layer without files knows no zone by name. A ``Zone`` is therefore a list of changes of the offset, made of a file of the
///   zone database that is given in. A fixed offset would be wrong for half of the year; the simulator gets the same list.
///
/// ## Invariants
/// 1. `next(after: t)` is later than `t`, and there is no run between the two.
/// 2. `next` never falls when `t` rises; so the last run before a moment can be found by bisection.
/// 3. A schedule that would never run is refused when it is read.
/// 4. Of all missed runs `decide` catches up at most one, and never hands out one at or before `last`.
public struct CronSchedule: Sendable, Hashable {
  public struct Settings: Sendable, Equatable {
    /// What becomes of runs that were missed: the last of them is caught up, or none.
    public var missed = Missed.once
    /// A run that begins so long after its moment is still on time: a minute, the grain of cron.
    public var tolerance = Duration.seconds(60)

    public init() {}

    /// The shortest length of `every`: what runs more often is a loop of its program's own.
    public static var everyMin: Duration { .seconds(1) }
  }

  public enum Missed: UInt8, Sendable, Equatable, BitwiseCopyable { case once, none }

  /// What to do about a job now.
  public enum Decision: Sendable, Equatable, BitwiseCopyable {
    /// Nothing is due; ask again at this moment.
    case wait(until: WallTime)
    /// Run it; `at` is the moment it was due, and the `last` of the next question.
    case run(at: WallTime, isLate: Bool)
    /// Runs were missed and are not caught up; `through`, the last of them, is the `last` of the next question.
    case skip(through: WallTime)
    /// It never runs again: the calendar ends with the year 9999.
    case never
  }

  enum Rule: Sendable, Hashable {
    case fields(Fields)
    /// Milliseconds.
    case every(Int64)
  }

  let rule: Rule

  /// It has no time of day: no zone moves it.
  public var isLength: Bool { if case .every = rule { true } else { false } }

  init(rule: Rule) { self.rule = rule }

  /// Each multiple of a length, which is at least `everyMin`.
  public init(every length: Duration) {
    rule = .every(max(length, Settings.everyMin).inNanoseconds / 1_000_000)
  }

  // MARK: Asking

  /// The first run after `time`, or nil when it would be after the year 9999.
  public func next(after time: WallTime, in zone: Zone = .utc) -> WallTime? {
    switch rule {
    case .every(let length):
      let (start, overflow) = ((time.milliseconds.floored(by: length)) + 1).multipliedReportingOverflow(by: length)
      return overflow ? nil : WallTime(milliseconds: start)
    case .fields(let fields): return CronSchedule.next(fields, after: time, in: zone)
    }
  }

  /// What to do now, when `last` is the moment of the run that was handed out (or skipped) last.
  ///
  /// For a new job `last` is when it was declared. Keep the moment in the same transaction as the message that starts the
  /// run, under an id made of the job and the moment: then a crash neither loses a run nor runs it twice. A clock that was
  /// set back waits until it is where it was.
  public func decide(
    after last: WallTime, now: WallTime, in zone: Zone = .utc, _ settings: Settings = Settings()
  ) -> Decision {
    guard let first = next(after: last, in: zone) else { return .never }
    if first > now { return .wait(until: first) }
    let due = lastRun(from: first, through: now, in: zone)
    let late = now.milliseconds.subtractingReportingOverflow(due.milliseconds)
    let isLate = late.overflow || late.partialValue > max(0, settings.tolerance.inNanoseconds / 1_000_000)
    if isLate && settings.missed == .none { return .skip(through: due) }
    return .run(at: due, isLate: isLate)
  }

  /// The last run that is not after `now`; `first` is one.
  private func lastRun(from first: WallTime, through now: WallTime, in zone: Zone) -> WallTime {
    // Invariant 2: `next(after: low) ≤ now < next(after: high)`, and half of what is between them goes each time.
    var found = first
    var low = first.milliseconds
    var high = now.milliseconds
    while low < high {
      let middle = (low & high) + ((low ^ high) >> 1)
      if let run = next(after: WallTime(milliseconds: middle), in: zone), run <= now {
        found = run
        low = run.milliseconds
      } else {
        high = middle
      }
    }
    return found
  }

  /// No run comes longer than this after the one before it, if that is within 400 days from `now`; in milliseconds.
  ///
  /// For those who keep what ran last: it must be kept so long. A bound, up to a day above the longest wait: a run is the first
  /// after some midnight, or on the same day as the one before it. A day's length and 400 looks at the calendar; nil when
  /// there is no run after it.
  public func longestWait(from now: WallTime, in zone: Zone = .utc) -> Int64? {
    if case .every(let length) = rule { return length }
    let day: Int64 = 86_400_000
    let midnight = now.milliseconds.floored(by: day) * day
    var longest: Int64?
    for i in 0..<400 as Range<Int64> {
      let start = midnight.saturating(plus: i * day)
      guard let run = next(after: WallTime(milliseconds: start.saturating(plus: -1)), in: zone) else { break }
      longest = max(longest ?? 0, run.milliseconds - start + day)
    }
    return longest
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    switch rule {
    case .every(let length): return length < 1000 ? "every \(length) ms" : nil
    case .fields(let fields): return fields.violation()
    }
  }
}
