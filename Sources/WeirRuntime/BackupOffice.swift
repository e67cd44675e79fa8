// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirModel
import WeirPlatform
import WeirProxy
import WeirTelemetry
import WeirWire

/// How it stands with copies of the state: asked of the state process, which makes them by itself.
final class BackupOffice: Sendable {
  private let census = Census<String, BackupCounts>()

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer) {
    census.enter(plan.needsState && plan.design.state?.backup != nil ? [plan.design.system.value] : [], server)
  }

  /// As was counted last; nil where none are made, or while nobody can say.
  var last: BackupCounts? { census.last?.first }

  func count() {
    census.count { [census] in
      guard case .backup(let counts) = await census.ask(.lookBackup) else { return nil }
      return [counts]
    }
  }
}

extension BackupCounts {
  /// Seconds since the newest was begun.
  func age(now: WallTime) -> Double? { lastAt.map { max(0, Double(now.milliseconds - $0) / 1000) } }

  func status(now: WallTime) -> Status.Backup {
    Status.Backup(
      last: lastAt.map { WallTime(milliseconds: $0).rfc3339 }, age: age(now: now), bytes: Int(bytes),
      copies: Int(copies), made: Int(made), failures: Int(failures), copying: isCopying,
      trouble: trouble.isEmpty ? nil : trouble)
  }
}

extension Translation {
  /// The folder is beside the file, or in the state folder.
  static func backup(_ plan: Plan, _ settings: RunSettings) -> BackupDeclaration? {
    guard let backup = plan.design.state?.backup else { return nil }
    let folder = backup.to.map { Files.resolve($0.value, in: Files.parent(of: plan.design.file)) }
    return BackupDeclaration(
      system: plan.design.system.value, every: backup.every.value.text,
      keep: backup.keep.value.inNanoseconds / 1_000_000, folder: folder ?? settings.state + "/backups",
      makesFolder: folder == nil)
  }
}

extension Plane {
  /// Copies of the state, for metrics.
  func backupFamilies(_ counts: BackupCounts?) -> [Snapshot.Family] {
    guard let counts else { return [] }
    var made = Snapshot.Family("weir_state_backups_total", .counter, "Copies of the state that were made.")
    var failures = Snapshot.Family(
      "weir_state_backup_failures_total", .counter, "Copies of the state that could not be made.")
    var copies = Snapshot.Family("weir_state_backup_copies", .gauge, "Copies of the state in their folder.")
    made.add([], Double(counts.made))
    failures.add([], Double(counts.failures))
    copies.add([], Double(counts.copies))
    var families = [made, failures, copies]
    if let lastAt = counts.lastAt, let age = counts.age(now: SystemClock.wall()) {
      var last = Snapshot.Family(
        "weir_state_backup_last_timestamp_seconds", .gauge, "When the newest copy of the state was begun.")
      var ages = Snapshot.Family("weir_state_backup_age_seconds", .gauge, "How old the newest copy of the state is.")
      var bytes = Snapshot.Family("weir_state_backup_bytes", .gauge, "Bytes of the newest copy of the state.")
      last.add([], Double(lastAt) / 1000)
      ages.add([], age)
      bytes.add([], Double(counts.bytes))
      families += [last, ages, bytes]
    }
    return families
  }
}
