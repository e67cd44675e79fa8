// SPDX-License-Identifier: Apache-2.0
internal import Synchronization
package import WeirBase
internal import WeirPatterns
internal import WeirPlatform
package import WeirWire

/// Has copies of the state made while it is served, as the file says, and old ones removed.
///
/// Any thread may ask. All that touches the copies' folder is done on threads of its own, one at a time: a disk that hangs, or is
/// not there, holds up no one who works with the state.
///
///     advance ─▶ look into the folder ─▶ due? ─▶ copy, check, sync, name ─▶ remove the old ─▶ counts
/// A copy is named for its system and the moment it was begun: `shop-20261122T090000Z.sqlite`.
package final class StateBackups: Sendable {
  private struct Plan {
    var declaration: BackupDeclaration
    /// Nil until somebody has looked which copies there are.
    var schedule: BackupSchedule?
    let settings: BackupSchedule.Settings
  }

  private struct Shared {
    var plan: Plan?
    /// Of the plan; who comes back with the word of an older one is not heard.
    var number = 0
    var isAtWork = false
    var isEnding = false
    var counts = BackupCounts()
  }

  private let path: String
  private let settings: SQLiteStore.CopySettings
  private let say: @Sendable (String) -> Void
  private let shared = Mutex(Shared())

  /// Of the database at a path; `say` gets sentences for the log.
  package init(
    of path: String, _ settings: SQLiteStore.CopySettings = SQLiteStore.CopySettings(),
    say: @escaping @Sendable (String) -> Void
  ) {
    self.path = path
    self.settings = settings
    self.say = say
  }

  package var counts: BackupCounts { shared.withLock { $0.counts } }

  /// When copies are made, and where; nil: none are.
  package func plan(_ declaration: BackupDeclaration?) {
    let wrong: String? = shared.withLock { shared in
      if shared.plan?.declaration == declaration { return nil }
      shared.number += 1
      shared.plan = nil
      shared.counts = BackupCounts()
      guard let declaration else { return nil }
      do throws(CronSchedule.Mistake) {
        var settings = BackupSchedule.Settings()
        settings.schedule = try CronSchedule(declaration.every)
        settings.keep = .milliseconds(declaration.keep)
        shared.plan = Plan(declaration: declaration, settings: settings)
        return nil
      } catch {
        // The file was read by the same words.
        shared.counts.trouble = error.message
        return error.message
      }
    }
    if let wrong { say("no copies are made: \(wrong)") }
  }

  /// A copy that is under way is given up; no other is begun.
  package func end() { shared.withLock { $0.isEnding = true } }

  /// Begins what is due, on a thread of its own.
  package func advance(now: WallTime) {
    let begins: (number: Int, plan: Plan, copies: Bool)? = shared.withLock { shared in
      guard !shared.isEnding, !shared.isAtWork, shared.plan != nil else { return nil }
      let copies = shared.plan?.schedule?.begin(now: now) ?? false
      guard let plan = shared.plan, plan.schedule == nil || copies else { return nil }
      shared.isAtWork = true
      shared.counts.isCopying = copies
      return (shared.number, plan, copies)
    }
    guard let begins else { return }
    do {
      try SystemThread.start { [self] in
        if begins.copies {
          copy(begins.plan, begins.number, at: now)
        } else {
          look(begins.plan, begins.number, now: now)
        }
      }
    } catch {
      // No thread to be had: as if it had failed, and tried again a second later.
      shared.withLock { shared in
        shared.isAtWork = false
        shared.counts.isCopying = false
        if begins.copies, shared.number == begins.number { shared.plan?.schedule?.failed(now: now) }
      }
    }
  }

  // MARK: On a thread of its own

  private struct Missing: Error, CustomStringConvertible {
    var folder: String
    var description: String { "there is no folder \(folder)" }
  }

  /// Which copies there are, when it begins.
  private func look(_ plan: Plan, _ number: Int, now: WallTime) {
    // A folder that cannot be read has none; the copy that is then due says why.
    let copies = (try? StateBackups.copies(of: plan.declaration.system, in: plan.declaration.folder)) ?? []
    finish(number) { shared in
      shared.plan?.schedule = BackupSchedule(plan.settings, last: copies.last?.at)
      StateBackups.count(copies, &shared.counts)
    }
    // A first copy does not wait for the next look.
    advance(now: now)
  }

  private func copy(_ plan: Plan, _ number: Int, at: WallTime) {
    let declaration = plan.declaration
    let begun = SystemClock.now()
    do {
      let folder = declaration.folder
      if declaration.makesFolder { try Files.makeFolder(folder) }
      guard Files.isFolder(folder) else { throw Missing(folder: folder) }
      let name = StateBackups.name(declaration.system, at)
      // One name for whatever is under way: what a process that was killed has left is written over.
      let bytes = try SQLiteStore.copy(
        path, to: "\(folder)/\(name)", by: "\(folder)/\(declaration.system).copying", settings,
        goesOn: { [self] in shared.withLock { !$0.isEnding && $0.number == number } })
      var copies = try StateBackups.copies(of: declaration.system, in: folder)
      let surplus = BackupSchedule.surplus(of: copies.map(\.at), now: at, keep: plan.settings.keep)
      for i in surplus { try Files.remove("\(folder)/\(copies[i].name)") }
      for i in surplus.reversed() { copies.remove(at: i) }
      let time = max(1, SystemClock.now().since(begun) / 1_000_000)
      finish(number) { shared in
        shared.plan?.schedule?.made(at: at)
        shared.counts.made += 1
        shared.counts.trouble = ""
        StateBackups.count(copies, &shared.counts)
      }
      say("copied to \(folder)/\(name): \(bytes) bytes in \(time) ms, \(copies.count) there")
    } catch is SQLiteStore.Ended {
      finish(number) { $0.plan?.schedule?.failed(now: at) }
    } catch {
      let trouble = String(decoding: "\(error)".utf8.prefix(BackupLimits.troubleBytesMax / 4), as: UTF8.self)
      finish(number) { shared in
        shared.plan?.schedule?.failed(now: at)
        shared.counts.failures += 1
        shared.counts.trouble = trouble
      }
      say("no copy of the state was made: \(error)")
    }
  }

  /// It is over; what it tells is of the plan that is in force, or of none.
  private func finish(_ number: Int, _ tell: (inout Shared) -> Void) {
    shared.withLock { shared in
      shared.isAtWork = false
      shared.counts.isCopying = false
      if shared.number == number { tell(&shared) }
    }
  }

  private static func count(_ copies: [Copy], _ counts: inout BackupCounts) {
    counts.copies = Int64(copies.count)
    counts.lastAt = copies.last?.at.milliseconds
    counts.bytes = copies.last?.bytes ?? 0
  }

  // MARK: The folder

  package struct Copy: Sendable, Equatable {
    package var name: String
    package var at: WallTime
    package var bytes: Int64
  }

  package static func name(_ system: String, _ at: WallTime) -> String { "\(system)-\(at.stamp).sqlite" }

  /// A system's copies in a folder, oldest first; whatever else lies there is another's.
  package static func copies(of system: String, in folder: String) throws -> [Copy] {
    let prefix = "\(system)-"
    let end = ".sqlite"
    var copies: [Copy] = []
    for name in try Files.names(in: folder) where name.hasPrefix(prefix) && name.hasSuffix(end) {
      guard let at = WallTime(stamp: name.dropFirst(prefix.count).dropLast(end.count)) else { continue }
      let bytes = (try? Descriptor.open("\(folder)/\(name)", .read).size()) ?? 0
      copies.append(Copy(name: name, at: at, bytes: Int64(bytes)))
    }
    return copies.sorted { $0.at < $1.at }
  }
}
