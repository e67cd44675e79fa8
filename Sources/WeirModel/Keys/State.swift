// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

/// Where Weir keeps its own state, and how it is saved from a disk that breaks.
package struct StateKeeping: Sendable, Equatable {
  package var place: Place
  /// Nil: nobody copies it.
  package var backup: Backup?
}

/// `backup:` of `state:`.
package struct Backup: Sendable, Equatable {
  package var every = BackupKeys.every.initial
  package var keep = BackupKeys.keep.initial
  /// Nil: in the state folder.
  package var to: Value<String>?
}

enum BackupKeys {
  private static let standard = BackupSchedule.Settings()

  static let every = ScalarKey(
    "every", .jobTime, default: JobTime(text: "1h", schedule: standard.schedule),
    rule: "backup.every (what is lost with the disk at most; a copy costs what its bytes cost)",
    "When a copy is made, in UTC: so often, or at the times of five cron fields.",
    alias: ["schedule", "cron", "at", "interval"])
  static let keep = ScalarKey(
    "keep", .duration(), default: standard.keep,
    rule: "backup.keep (what is found out on Monday was copied before the weekend)",
    "Older copies go, all but the newest.", alias: ["retention", "expire"])
  static let to = ScalarKey(
    "to", .text("a folder", example: "/mnt/backup/shop"),
    rule: "`backups` in the state folder, on the same disk",
    "The folder they lie in, relative to the Weir file; it must be there, so that a disk that is not mounted is told.",
    alias: ["folder", "path", "directory"])

  static let part = Part<Backup>(
    "backup", "Copies of the state, made while it is served.", start: { _, _ in Backup() },
    [
      .value(every, \.every), .value(keep, \.keep), .optional(to, \.to),
      .later("restore-tested", "How often a copy is put back in a drill."),
    ])
}

/// `state:`.
enum StateKeys {
  static let backup = Key(
    "backup", .section(BackupKeys.part.section), default: "nobody copies it",
    "How often it is copied, where to, and how long copies are kept.", alias: ["backups", "copy"])

  static let part = Part<StateKeeping>(
    "state", "What Weir itself must not forget: queues, logs, sagas, records of idempotency keys.",
    start: { layers, _ in layers.place.map { StateKeeping(place: $0) } },
    [
      .optionalPart(backup, \.backup, BackupKeys.part),
      .later("engine", "What it is kept in: a file (`sqlite`), or a server that several nodes share."),
      .later("at", "Where that server runs."),
    ])
  static let section = part.section
}

extension Resolver {
  mutating func state(_ node: Node) -> StateKeeping? {
    let state = StateKeys.part.read(Layers([Fields(node, StateKeys.section)]), &self)
    if let every = state?.backup?.every, let wait = every.value.schedule.longestWait(from: WallTime(milliseconds: 0)),
      wait < 60_000
    {
      mistake(
        "wrong-value", "a copy is made once a minute at most, not every \(every.value.text)", at: every,
        why: "each one is the whole state, read, written and checked", mend: "every: 1m")
    }
    return state
  }
}
