// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

struct CronScheduleTests {
  private func at(_ seconds: Int64) -> WallTime { WallTime(milliseconds: seconds * 1000) }

  private func moment(_ text: String) throws -> WallTime {
    let parsed = try Date(text, strategy: .iso8601)
    return WallTime(milliseconds: Int64((parsed.timeIntervalSince1970 * 1000).rounded()))
  }

  /// What another implementation says: croniter 7.0.0, by `Tests/Cron/make.py`.
  @Test("the next five runs of 500 schedules are croniter's")
  func croniter() throws {
    // Tests/WeirPatternsTests/Delivery/<this file>: the repository is four levels up.
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    let table = try String(contentsOf: root.appending(path: "Tests/Cron/schedules.tsv"), encoding: .utf8)
    var lines = 0
    for line in table.split(separator: "\n") {
      let columns = line.split(separator: "\t")
      let schedule = try CronSchedule(String(columns[0]))
      #expect(schedule.violation() == nil)
      var time = at(Int64(columns[1]) ?? 0)
      for expected in columns[2].split(separator: " ") {
        let next = schedule.next(after: time)
        #expect(next == Int64(expected).map(at), "\(line)")
        time = next ?? time
      }
      lines += 1
    }
    #expect(lines == 500)
  }

  /// POSIX: "if both are specified, either will do"; only a bare star names nothing.
  @Test(
    "a day of the month or of the week",
    arguments: [
      ("0 0 12 * fri", 3), ("0 0 12 * *", 1), ("0 0 * * fri", 2), ("0 0 */30 * fri", 2), ("0 0 */11 * fri", 3),
      ("0 0 */1 * fri", 2), ("0 0 1-31 * fri", 12),
    ])
  func days(text: String, runs: Int) throws {
    // Twelve midnights: 4 to 15 November 2026; the Fridays are the 6th and the 13th.
    let schedule = try CronSchedule(text)
    var time = try moment("2026-11-03T12:00:00Z")
    let end = try moment("2026-11-15T12:00:00Z")
    var found = 0
    while let next = schedule.next(after: time), next < end {
      found += 1
      time = next
    }
    #expect(found == runs)
  }

  @Test("a length counts from 1970, whatever the zone")
  func every() throws {
    let quarter = try CronSchedule("every 15m")
    for same in ["15m", "@every 15m", "EVERY 900s", " every\t0h15m "] { #expect(try CronSchedule(same) == quarter) }
    let zone = CronSchedule.Zone(offset: 20_700)
    #expect(quarter.next(after: at(0), in: zone) == at(900))
    #expect(quarter.next(after: at(899)) == at(900))
    #expect(quarter.next(after: at(-1)) == at(0))
    #expect(try CronSchedule("every 1d12h").next(after: at(1)) == at(129_600))
  }

  // MARK: Clocks that change

  /// New York, 2026: forward on 8 March at 2:00 (7:00Z), back on 1 November at 2:00 (6:00Z).
  private func newYork() throws -> CronSchedule.Zone {
    CronSchedule.Zone(
      offset: -18_000,
      changes: [
        .init(at: try moment("2026-11-01T06:00:00Z"), offset: -18_000),
        .init(at: try moment("2026-03-08T07:00:00Z"), offset: -14_400),
      ])
  }

  @Test(
    "a time of day that a change leaves out or repeats is had once; a star follows the clock",
    arguments: [
      // Half past two does not come on that morning: right after the change, and the next day at its time.
      ("30 2 * * *", "2026-03-08T05:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
      // Several that are left out are one.
      ("0,30 2 * * *", "2026-03-08T05:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]),
      // The run that is moved there is not had twice by one that is there already.
      ("0 2,3 * * *", "2026-03-08T05:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]),
      ("*/30 2 * * *", "2026-03-08T05:00:00Z", ["2026-03-09T06:00:00Z", "2026-03-09T06:30:00Z"]),
      // Half past one comes twice: the first time (summer time) counts.
      ("30 1 * * *", "2026-11-01T03:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
      // Asked in the second hour, too.
      ("30 1 * * *", "2026-11-01T06:10:00Z", ["2026-11-02T06:30:00Z"]),
      ("0 2 * * *", "2026-11-01T05:59:00Z", ["2026-11-01T07:00:00Z", "2026-11-02T07:00:00Z"]),
      ("30 * * * *", "2026-11-01T05:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z"]),
      ("every 1h", "2026-11-01T05:00:00Z", ["2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]),
    ] as [(String, String, [String])])
  func summerTime(text: String, from: String, expected: [String]) throws {
    let schedule = try CronSchedule(text)
    let zone = try newYork()
    var time = try moment(from)
    for expected in expected {
      let next = try #require(schedule.next(after: time, in: zone))
      #expect(try next == moment(expected), "\(text) after \(time.rfc3339): \(next.rfc3339)")
      time = next
    }
  }

  /// The same rule said another way: minute by minute, with what the clock has shown so far, against Foundation's calendar.
  @Test("walks: every run of some days is what a search by the minute finds", arguments: resilienceSeeds(60))
  func search(seed: UInt64) throws {
    var random = SeededRandom(seed: seed, stream: "cron")
    let (text, naive) = NaiveCron.draw(&random)
    let schedule = try CronSchedule(text)
    let start = Int64(random.index(below: 70_000_000))
    let jumps: [Int32] = [3600, -3600, 1800, -1800, 7200, -10_800, 86_400, 0]
    let base = Int32(random.index(below: 97) - 48) * 900
    let first = start + Int64(random.index(below: 2000))
    let second = first + 1 + Int64(random.index(below: 2000))
    var zone = CronSchedule.Zone(offset: base)
    if random.index(below: 4) > 0 {
      let jump = jumps[random.index(below: jumps.count)]
      zone = CronSchedule.Zone(
        offset: base,
        changes: [
          .init(at: at(first * 60), offset: base + jump),
          .init(at: at(second * 60), offset: base + jump + jumps[random.index(below: jumps.count)]),
        ])
    }
    let end = start + 5000
    let expected = naive.runs(from: start, to: end, zone)
    var found: [Int64] = []
    var time = at(start * 60 - 1)
    while let next = schedule.next(after: time, in: zone), next < at(end * 60) {
      #expect(next > time)
      found.append(next.milliseconds / 60_000)
      time = next
    }
    #expect(found == expected, "WEIR_SEED=\(seed) \(text) from \(start) in \(zone)")
    // Invariant 2, where it is hardest: around the runs.
    var around: [Int64] = []
    for minute in found.prefix(50) {
      for shift in [-60_001, -60_000, -1, 0, 1] { around.append(minute * 60_000 + Int64(shift)) }
    }
    var last = WallTime(milliseconds: .min)
    for time in around.sorted() {
      guard let next = schedule.next(after: WallTime(milliseconds: time), in: zone) else { continue }
      if next < last { Issue.record("WEIR_SEED=\(seed) \(text): \(next.rfc3339) after \(last.rfc3339)") }
      last = max(last, next)
    }
  }

  @Test("the ends of time do no harm", arguments: ["* * * * *", "0 0 29 2 *", "every 1s", "0 3 * * 1"])
  func ends(text: String) throws {
    let schedule = try CronSchedule(text)
    let zone = CronSchedule.Zone(offset: 3600, changes: [.init(at: at(0), offset: 7200)])
    for time in [Int64.min, Int64.min + 1, -1, 0, 253_402_300_740_000, .max - 1, .max] {
      let next = schedule.next(after: WallTime(milliseconds: time), in: zone)
      #expect(next.map { $0.milliseconds > time } ?? true)
      _ = schedule.decide(after: WallTime(milliseconds: .min), now: WallTime(milliseconds: time), in: zone)
    }
    #expect(schedule.next(after: WallTime(milliseconds: .max), in: zone) == nil)
    #expect(schedule.decide(after: WallTime(milliseconds: .max), now: at(0)) == .never)
  }

  // MARK: Missed runs

  @Test("no run is further from the one before it than is said, and the bound is a day above the longest wait at most")
  func longestWait() throws {
    let now = WallTime(milliseconds: 1_790_000_000_000)
    let hour: Int64 = 3_600_000
    for (text, least) in [
      ("*/5 9-17 * * *", 15 * hour + 300_000), ("0 3 * * *", 24 * hour), ("0 9 * * 1-5", 72 * hour),
      ("0 0 1 * *", 31 * 24 * hour), ("0 0 1 1 *", 366 * 24 * hour), ("* * * * *", 60_000),
      ("0 8,20 * * 1", 156 * hour),
    ] {
      let schedule = try CronSchedule(text)
      let bound = try #require(schedule.longestWait(from: now), "\(text)")
      var at = try #require(schedule.next(after: now))
      var longest: Int64 = 0
      // 400 days, or as many runs as a day of minutes and some more has.
      for _ in 0..<3000 where at.milliseconds < now.milliseconds + 400 * 24 * hour {
        let next = try #require(schedule.next(after: at))
        longest = max(longest, next.milliseconds - at.milliseconds)
        at = next
      }
      #expect(longest == least || text == "0 0 1 1 *" && longest >= 365 * 24 * hour, "\(text): \(longest / hour) h")
      #expect(bound >= longest && bound <= max(longest, least) + 24 * hour, "\(text): \(bound / hour) h")
    }
    #expect(try CronSchedule("every 15m").longestWait(from: now) == 900_000)
  }

  @Test("a missed run is caught up once or not at all; one that is a little late is on time")
  func missed() throws {
    let schedule = try CronSchedule("0 3 * * *")
    let day: Int64 = 86_400
    let three: Int64 = 3 * 3600
    var none = CronSchedule.Settings()
    none.missed = .none
    #expect(schedule.decide(after: at(0), now: at(three - 1)) == .wait(until: at(three)))
    #expect(schedule.decide(after: at(0), now: at(three)) == .run(at: at(three), isLate: false))
    #expect(schedule.decide(after: at(0), now: at(three + 60), none) == .run(at: at(three), isLate: false))
    #expect(schedule.decide(after: at(0), now: at(three + 61)) == .run(at: at(three), isLate: true))
    #expect(schedule.decide(after: at(0), now: at(three + 61), none) == .skip(through: at(three)))
    // Down for ten days: one run, of the last moment, and then none until the next.
    let tenth = at(10 * day + three)
    #expect(schedule.decide(after: at(three), now: at(10 * day + 2 * three)) == .run(at: tenth, isLate: true))
    #expect(schedule.decide(after: at(three), now: at(10 * day + three + 5), none) == .run(at: tenth, isLate: false))
    #expect(schedule.decide(after: tenth, now: at(10 * day + 2 * three)) == .wait(until: at(11 * day + three)))
    // The clock was set back: what was run is not run again.
    #expect(schedule.decide(after: tenth, now: at(9 * day)) == .wait(until: at(11 * day + three)))
  }

  /// A job that is asked about at random moments, with outages and clocks set back.
  @Test("walks: no moment is handed out twice, none but one of an outage is caught up", arguments: resilienceSeeds(60))
  func decisions(seed: UInt64) throws {
    var random = SeededRandom(seed: seed, stream: "cron missed")
    let schedule = try CronSchedule(["*/7 * * * *", "every 11m", "0 */3 * * 1-5", "5 4 * * *"][random.index(below: 4)])
    var settings = CronSchedule.Settings()
    settings.missed = random.index(below: 2) == 0 ? .once : .none
    var now: Int64 = 1_790_000_000
    var last = at(now)
    for step in 0..<200 {
      now += Int64(random.index(below: 10) == 0 ? random.index(below: 400_000) : random.index(below: 900))
      if random.index(below: 20) == 0 { now -= Int64(random.index(below: 5000)) }
      switch schedule.decide(after: last, now: at(now), settings) {
      case .wait(let until):
        #expect(until > at(now) && schedule.next(after: last) == until, "WEIR_SEED=\(seed) step \(step)")
      case .run(let moment, let isLate):
        #expect(moment > last && moment <= at(now), "WEIR_SEED=\(seed) step \(step)")
        #expect(
          try #require(schedule.next(after: moment)) > at(now), "WEIR_SEED=\(seed) step \(step): not the last one")
        #expect(isLate == (at(now).milliseconds - moment.milliseconds > 60_000), "WEIR_SEED=\(seed) step \(step)")
        #expect(settings.missed == .once || !isLate, "WEIR_SEED=\(seed) step \(step)")
        last = moment
      case .skip(let through):
        #expect(settings.missed == .none && through > last, "WEIR_SEED=\(seed) step \(step)")
        #expect(try #require(schedule.next(after: through)) > at(now), "WEIR_SEED=\(seed) step \(step)")
        last = through
      case .never: Issue.record("WEIR_SEED=\(seed) step \(step)")
      }
    }
  }

  // MARK: Mistakes

  @Test(
    "a mistake says where it is and what to write instead",
    arguments: [
      ("", 0, 0, "0 3 * * *", "no schedule"),
      ("0 3 * *", 0, 7, "0 3 * * *", "4 fields"),
      ("0 0 3 * * *", 0, 1, "0 3 * * *", "no seconds"),
      ("0 24 * * *", 2, 2, "0 0 * * *", "24 is no hour: 0-23"),
      ("60 3 * * *", 0, 2, "0 3 * * *", "60 is no minute"),
      ("0 3 0 * *", 4, 1, "0 3 1 * *", "no day of the month"),
      ("0 3 * 13 *", 6, 2, "0 3 * 12 *", "no month"),
      ("0 3 * * 8", 8, 1, "0 3 * * 0", "Sunday is 0 and 7"),
      ("0 3 * * monday", 8, 6, "0 3 * * mon", "three letters"),
      ("0 3 * * fri-mon", 8, 7, "0 3 * * 5-6,0-1", "ends before it begins"),
      ("0 22-6 * * *", 2, 4, "0 22-23,0-6 * * *", "ends before it begins"),
      ("5/15 * * * *", 0, 4, "5-59/15 * * * *", "a step is of a range"),
      ("*/90 * * * *", 0, 4, "every 90m", "leaves only 0"),
      ("*/0 * * * *", 0, 3, "* * * * *", "a number from 1"),
      ("/5 * * * *", 0, 2, "*/5 * * * *", "a step is of something"),
      ("1,,2 * * * *", 0, 4, "1,2 * * * *", "empty place"),
      ("0 0 ? * 1", 4, 1, "0 0 * * 1", "Quartz"),
      ("0 0 L * *", 4, 1, nil, "Quartz"),
      ("0 0 30 feb *", 4, 2, "0 0 29 feb *", "never runs"),
      ("0 0 31 4,6 *", 4, 2, "0 0 30 4,6 *", "never runs"),
      ("@dayly", 0, 6, "@daily", "none of"),
      ("@reboot", 0, 7, nil, "no time"),
      ("@daily 3", 7, 1, "@daily", "nothing comes after"),
      ("every", 0, 5, "every 15m", "one length"),
      ("every 15", 6, 2, "every 15m", "without a unit"),
      ("every 15x", 6, 3, "every 15m", "no length"),
      ("every 0s", 6, 2, "every 1s", "too often"),
      ("1-2-3 * * * *", 0, 5, nil, "two ends"),
      ("5- * * * *", 1, 2, nil, "end missing"),
      ("0 x * * *", 2, 1, nil, "no hour"),
    ] as [(String, Int, Int, String?, String)])
  func mistakes(text: String, offset: Int, length: Int, mend: String?, says: String) {
    do throws(CronSchedule.Mistake) {
      let read = try CronSchedule(text)
      Issue.record("\(text) was read as \(read)")
    } catch {
      #expect(error.offset == offset && error.length == length, "\(text): \(error)")
      #expect(error.mend == mend, "\(text): \(error)")
      #expect(error.message.contains(says), "\(text): \(error)")
    }
  }

  /// What is not a schedule is told so, quickly, and every mend that is offered can be read.
  @Test("walks: any text is read or refused with a mend that is good", arguments: resilienceSeeds(300))
  func anyText(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "cron text")
    let pieces = [
      "*", "/", "-", ",", " ", " ", " ", "5", "0", "60", "every", "@", "mon", "jan", "L", "?", "é", "31", "2", "m",
    ]
    var text = ""
    for _ in 0..<random.index(below: 14) { text += pieces[random.index(below: pieces.count)] }
    do throws(CronSchedule.Mistake) {
      let schedule = try CronSchedule(text)
      #expect(schedule.violation() == nil, "WEIR_SEED=\(seed) «\(text)»")
      #expect(schedule.next(after: at(1_790_000_000)) != nil, "WEIR_SEED=\(seed) «\(text)»")
    } catch {
      #expect(
        error.offset >= 0 && error.offset + error.length <= text.utf8.count, "WEIR_SEED=\(seed) «\(text)»: \(error)")
      if let mend = error.mend {
        #expect(throws: Never.self, "WEIR_SEED=\(seed) «\(text)»: \(error)") { try CronSchedule(mend) }
      }
    }
  }

  @Test("ten thousand mistakes in one text are one mistake")
  func long() {
    let text = Array(repeating: "99", count: 10_000).joined(separator: ",") + " * * * *"
    #expect(throws: CronSchedule.Mistake.self) { try CronSchedule(text) }
  }
}

/// Cron as its manual tells it, one minute after the other.
private struct NaiveCron {
  var allowed: [[Bool]] = []
  var namesDays = false
  var namesWeekdays = false
  var followsClock = false

  static func draw(_ random: inout SeededRandom) -> (String, NaiveCron) {
    let ends = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    var naive = NaiveCron()
    var words: [String] = []
    for (index, (low, high)) in ends.enumerated() {
      var bits = Array(repeating: false, count: 60)
      var word = "*"
      switch random.index(below: index > 1 ? 6 : 4) {
      case 0:
        let step = 1 + random.index(below: (high - low) / 2)
        word = "*/\(step)"
        for value in stride(from: low, through: high, by: step) { bits[value] = true }
        if step == 1 { word = "*" }
      case 1:
        let from = low + random.index(below: high - low)
        let to = from + random.index(below: high - from)
        word = "\(from)-\(to)"
        for value in from...to { bits[value] = true }
      case 2:
        var values: [Int] = []
        for _ in 0...random.index(below: 3) { values.append(low + random.index(below: high - low + 1)) }
        word = values.map(String.init).joined(separator: ",")
        for value in values { bits[value] = true }
      default: for value in low...high { bits[value] = true }
      }
      if index == 2 { naive.namesDays = word != "*" }
      if index == 4 { naive.namesWeekdays = word != "*" }
      if index < 2 && word.hasPrefix("*") { naive.followsClock = true }
      naive.allowed.append(bits)
      words.append(word)
    }
    // A day that never comes is another test's.
    if naive.namesDays && !naive.namesWeekdays && !naive.allowed[2][1...28].contains(true) { return draw(&random) }
    return (words.joined(separator: " "), naive)
  }

  /// The minutes of `from ..< to` at which it runs.
  func runs(from: Int64, to: Int64, _ zone: CronSchedule.Zone) -> [Int64] {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? .current
    var dates: [Int64: Bool] = [:]
    func matches(_ local: Int64) -> Bool {
      let day = (Double(local) / 1440).rounded(.down)
      let within = Int(local - Int64(day) * 1440)
      guard allowed[0][within % 60] && allowed[1][within / 60] else { return false }
      if let known = dates[Int64(day)] { return known }
      let parts = calendar.dateComponents([.day, .month, .weekday], from: Date(timeIntervalSince1970: day * 86_400))
      let byDay = allowed[2][parts.day ?? 0]
      let byWeekday = allowed[4][(parts.weekday ?? 1) - 1]
      let isDay = namesDays && namesWeekdays ? byDay || byWeekday : byDay && byWeekday
      dates[Int64(day)] = isDay && allowed[3][parts.month ?? 0]
      return dates[Int64(day)] ?? false
    }
    func offset(_ minute: Int64) -> Int64 {
      var offset = zone.offset
      for change in zone.changes where change.at.milliseconds <= minute * 60_000 { offset = change.offset }
      return Int64(offset) / 60
    }
    var found: [Int64] = []
    for minute in from..<to {
      let local = minute + offset(minute)
      let before = offset(minute - 1)
      var runs = matches(local)
      if !followsClock {
        // Shown before: by the clock as it was before the change that this minute follows.
        if let change = zone.changes.last(where: { $0.at.milliseconds <= minute * 60_000 }) {
          let at = change.at.milliseconds / 60_000
          if local < at + offset(at - 1) { runs = false }
        }
        if before < offset(minute) {
          for leftOut in (minute + before)..<local where matches(leftOut) { runs = true }
        }
      }
      if runs { found.append(minute) }
    }
    return found
  }
}
