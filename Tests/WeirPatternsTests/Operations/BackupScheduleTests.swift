// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct BackupScheduleTests {
  private func at(_ seconds: Int64) -> WallTime { WallTime(milliseconds: seconds * 1000) }

  private func schedule(_ text: String = "1h", last: Int64? = nil) throws -> BackupSchedule {
    var settings = BackupSchedule.Settings()
    settings.schedule = try CronSchedule(text)
    return BackupSchedule(settings, last: last.map(at))
  }

  private func begin(_ backups: inout BackupSchedule, _ now: WallTime) -> Bool { backups.begin(now: now) }

  @Test("where there is no copy the first is made at once, then one at each of its times, one at a time")
  func begins() throws {
    var backups = try schedule()
    #expect(begin(&backups, at(10)))
    #expect(!begin(&backups, at(7200)))
    backups.made(at: at(10))
    #expect(!begin(&backups, at(3599)))
    #expect(begin(&backups, at(3600)))
    backups.made(at: at(3600))
    #expect(backups.last == at(3600))
  }

  @Test("a time that nobody was there for is caught up, once")
  func catchesUp() throws {
    var backups = try schedule("0 3 * * *", last: 86_400 + 3 * 3600)
    #expect(!begin(&backups, at(2 * 86_400)))
    #expect(begin(&backups, at(5 * 86_400)))
    backups.made(at: at(5 * 86_400))
    #expect(!begin(&backups, at(5 * 86_400 + 1)))
    #expect(begin(&backups, at(5 * 86_400 + 3 * 3600)))
  }

  @Test("a copy that fails is tried again after 1, 2, 4 … minutes, after an hour at most, and then as usual")
  func retries() throws {
    var backups = try schedule("0 3 * * *")
    var now: Int64 = 0
    for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] as [Int64] {
      #expect(begin(&backups, at(now)))
      backups.failed(now: at(now))
      #expect(backups.violation() == nil)
      #expect(!begin(&backups, at(now + wait - 1)), "\(wait)")
      now += wait
    }
    #expect(begin(&backups, at(now)) && backups.failuresInRow == 8)
    backups.made(at: at(now))
    #expect(backups.failuresInRow == 0)
    #expect(!begin(&backups, at(now + 60)))
    #expect(begin(&backups, at(86_400 + 3 * 3600)))
  }

  @Test("a clock that was wrong holds up nothing: a copy from the future counts as one of now, a rest is no longer")
  func clock() throws {
    var backups = try schedule(last: 1_000_000_000)
    #expect(!begin(&backups, at(10)))
    #expect(backups.last == at(10))
    #expect(begin(&backups, at(3600)))
    backups.failed(now: at(1_000_000))
    #expect(begin(&backups, at(3700)))
  }

  @Test("copies older than `keep` go, and never the newest")
  func surplus() {
    let hour = Duration.seconds(3600)
    func surplus(_ copies: Int64..., now: Int64) -> [Int] {
      BackupSchedule.surplus(of: copies.map(at), now: at(now), keep: hour)
    }
    #expect(surplus(now: 5).isEmpty)
    #expect(surplus(0, now: 1_000_000).isEmpty)
    #expect(surplus(0, 10, 3600, now: 3600).isEmpty)
    #expect(surplus(3600, 10, 0, now: 3611) == [1, 2])
    #expect(surplus(20, 10, now: 1_000_000) == [1])
    // From the future: another is the newest.
    #expect(surplus(0, 1_000_000, now: 10_000) == [0])
  }

  @Test("whatever happens, one at a time, and it goes on", arguments: PatternSeeds.seeds(100))
  func walk(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var backups = try schedule(["1h", "7m", "0 3 * * *"][Int(random.next() % 3)])
    var now: Int64 = 1_000_000
    var isOut = false
    for _ in 0..<300 {
      // Now and then the clock is set back.
      now = max(0, now + Int64(random.next() % 4000) - (random.next() % 20 == 0 ? 50_000 : 0))
      let begins = begin(&backups, at(now))
      #expect(!(begins && isOut))
      if begins { isOut = true }
      if isOut && random.next() % 2 == 0 {
        isOut = false
        if random.next() % 3 == 0 { backups.failed(now: at(now)) } else { backups.made(at: at(now)) }
      }
      if let wrong = backups.violation() { Issue.record("seed \(seed): \(wrong)") }
    }
    if isOut { backups.made(at: at(now)) }
    #expect(begin(&backups, at(now + 2 * 86_400)), "seed \(seed)")
  }
}
