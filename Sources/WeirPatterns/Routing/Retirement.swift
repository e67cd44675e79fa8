// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Tells clients that a version is going away, and says what happens when it is gone.
///
/// Source: RFC 9745 (`Deprecation: @seconds`), RFC 8594 (`Sunset: date`). Which version a request means is a route's
/// path or ``RouteCondition``; this is the rest of that route's life.
///
///     ──current──▶ since ──deprecated──▶ until ──past──▶ served as before, or 410
public struct Retirement: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Since when it is deprecated; may lie ahead.
    public var since: WallTime?
    /// From when on it may be gone; not before `since`.
    public var until: WallTime?
    /// Answers 410 after `until`.
    ///
    /// False: RFC 8594 §3 promises nothing about what happens then, and a date in a file must not cause an outage unasked.
    public var refuses = false

    public init() {}
  }

  public enum Phase: UInt8, Sendable, Equatable, CaseIterable {
    case current, deprecated
    /// `until` is over, and it is served all the same.
    case past
    /// `until` is over: 410.
    case gone
  }

  public let settings: Settings

  public init(_ settings: Settings) { self.settings = settings }

  public func phase(now: WallTime) -> Phase {
    if let until = settings.until, now >= until { return settings.refuses ? .gone : .past }
    if let since = settings.since, now >= since { return .deprecated }
    return .current
  }

  /// The value of the `Deprecation` field, or nil; announced ahead of time too (RFC 9745 §2.1).
  public var deprecationField: String? { settings.since.map { "@\(Retirement.seconds($0))" } }

  /// The value of the `Sunset` field, an HTTP date (RFC 9110 §5.6.7), or nil.
  public var sunsetField: String? {
    guard let until = settings.until else { return nil }
    let seconds = Retirement.seconds(until)
    let days = seconds >= 0 ? seconds / 86_400 : -((86_399 - seconds) / 86_400)
    let second = seconds - days * 86_400
    let (year, month, day) = Retirement.civil(days)
    // 1970-01-01 was a Thursday.
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][((days % 7) + 7) % 7]
    let name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month - 1]
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let clock = "\(two(second / 3_600)):\(two(second / 60 % 60)):\(two(second % 60))"
    return "\(weekday), \(two(day)) \(name) \(year) \(clock) GMT"
  }

  private static func seconds(_ time: WallTime) -> Int {
    Int(time.milliseconds >= 0 ? time.milliseconds / 1_000 : (time.milliseconds - 999) / 1_000)
  }

  /// Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `civil_from_days`.
  private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let ofEra = shifted - era * 146_097
    let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * ofYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shiftedMonth + 2) / 5 + 1)
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if let since = settings.since, let until = settings.until, until < since {
      return "it ends before it is deprecated"
    }
    return nil
  }
}
