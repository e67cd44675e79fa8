// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

/// Files of the zone database, and schedules in zones whose clocks change.
struct CronZoneFileTests {
  private struct Line {
    var name: String
    var file: [UInt8]
    var offsets: [(second: Int64, offset: Int32)]
  }

  /// By `Tests/Cron/zones.py`, with the offsets that Python's `zoneinfo` reads out of the same files.
  private static func lines() throws -> [Line] {
    // Tests/WeirPatternsTests/Delivery/<this file>: the repository is four levels up.
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    let table = try String(contentsOf: root.appending(path: "Tests/Cron/zones.tsv"), encoding: .utf8)
    return try table.split(separator: "\n").map { line in
      let columns = line.split(separator: "\t").map(String.init)
      let file = try #require(Data(base64Encoded: columns[1]))
      let offsets = columns[2].split(separator: " ").compactMap { pair -> (Int64, Int32)? in
        let parts = pair.split(separator: ":")
        guard let second = Int64(parts[0]), let offset = Int32(parts[1]) else { return nil }
        return (second, offset)
      }
      return Line(name: columns[0], file: Array(file), offsets: offsets)
    }
  }

  private static func zone(_ name: String) throws -> CronSchedule.Zone {
    let line = try #require(lines().first { $0.name == name })
    return try CronSchedule.Zone(file: line.file)
  }

  private func moment(_ text: String) throws -> WallTime {
    let parsed = try Date(text, strategy: .iso8601)
    return WallTime(milliseconds: Int64((parsed.timeIntervalSince1970 * 1000).rounded()))
  }

  @Test("the offsets of zones are those that Python's zoneinfo reads out of the same files, now and in centuries")
  func offsets() throws {
    var count = 0
    for line in try Self.lines() {
      let zone = try CronSchedule.Zone(file: line.file)
      for (second, offset) in line.offsets {
        let last = zone.changes.last { $0.at.milliseconds <= second * 1000 }
        #expect((last?.offset ?? zone.offset) == offset, "\(line.name) at \(second)")
        count += 1
      }
      #expect(zip(zone.changes, zone.changes.dropFirst()).allSatisfy { $0.at < $1.at && $0.offset != $1.offset })
      #expect(zone.changes.count < 1200, "\(line.name): \(zone.changes.count)")
    }
    #expect(count > 500)
  }

  /// On 2026-03-29 the hour from 2 to 3 is left out in Berlin, on 2026-10-25 it comes twice.
  @Test(
    "Berlin: what is left out runs once, right after the change; what comes twice runs the first time",
    arguments: [
      ("30 2 * * *", "2026-03-28T00:00:00Z", "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"),
      ("30 2 * * *", "2026-10-24T00:00:00Z", "2026-10-24T00:30:00Z 2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"),
      ("0 3 * * *", "2026-03-28T00:00:00Z", "2026-03-28T02:00:00Z 2026-03-29T01:00:00Z 2026-03-30T01:00:00Z"),
      ("0 3 * * *", "2026-10-24T00:00:00Z", "2026-10-24T01:00:00Z 2026-10-25T02:00:00Z 2026-10-26T02:00:00Z"),
      ("@daily", "2026-10-23T23:00:00Z", "2026-10-24T22:00:00Z 2026-10-25T23:00:00Z 2026-10-26T23:00:00Z"),
      // It follows the clock, and runs as often as that shows it.
      ("30 * * * *", "2026-03-29T00:00:00Z", "2026-03-29T00:30:00Z 2026-03-29T01:30:00Z 2026-03-29T02:30:00Z"),
      ("30 * * * *", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-25T02:30:00Z"),
      // By the rule behind the file's own changes.
      ("30 2 * * *", "2126-03-30T03:00:00Z", "2126-03-31T01:00:00Z 2126-04-01T00:30:00Z 2126-04-02T00:30:00Z"),
      ("every 12h", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z 2026-03-29T12:00:00Z 2026-03-30T00:00:00Z"),
    ])
  func berlin(text: String, from: String, expected: String) throws {
    let zone = try Self.zone("Europe/Berlin")
    let schedule = try CronSchedule(text)
    var time = try moment(from)
    for run in expected.split(separator: " ") {
      let next = try #require(schedule.next(after: time, in: zone))
      #expect(next == (try moment(String(run))), "\(next.rfc3339), not \(run)")
      time = next
    }
  }

  @Test("a job at half past two in New York runs once a day, 365 days long, whatever the clocks do")
  func daily() throws {
    let zone = try Self.zone("America/New_York")
    let schedule = try CronSchedule("30 2 * * *")
    var time = try moment("2026-01-01T00:00:00Z")
    let end = try moment("2027-01-01T00:00:00Z")
    var runs: [String] = []
    while let next = schedule.next(after: time, in: zone), next < end {
      runs.append(next.rfc3339)
      time = next
    }
    #expect(runs.count == 365)
    #expect(runs.contains("2026-03-08T07:00:00.000Z") && runs.contains("2026-11-01T07:30:00.000Z"))
  }

  @Test("a bound on the wait between runs holds in a zone, too")
  func longestWait() throws {
    let zone = try Self.zone("Europe/Berlin")
    let schedule = try CronSchedule("30 2 * * *")
    let now = try moment("2026-01-01T00:00:00Z")
    let bound = try #require(schedule.longestWait(from: now, in: zone))
    // 25 hours, when the clocks go back.
    #expect((90_000_000...176_400_000).contains(bound), "\(bound)")
  }

  @Test("what is no file of the database is refused, and no bytes stop the reader")
  func broken() throws {
    let good = try #require(Self.lines().first { $0.name == "Europe/Berlin" }).file
    for count in 0..<good.count {
      #expect(throws: CronSchedule.Zone.Unreadable.self) { try CronSchedule.Zone(file: Array(good[..<count])) }
    }
    var random = SeededRandom(seed: 20_261_122)
    for line in try Self.lines() {
      for _ in 0..<200 {
        var bytes = line.file
        for _ in 0..<(1 + Int(random.next() % 3)) {
          bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
        }
        guard let zone = try? CronSchedule.Zone(file: bytes) else { continue }
        #expect(zip(zone.changes, zone.changes.dropFirst()).allSatisfy { $0.at < $1.at })
      }
    }
  }
}
