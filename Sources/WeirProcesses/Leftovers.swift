// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
package import WeirPlatform
internal import WeirBase

/// What runs, written to `pids.json` on every change.
package struct RunRecord: Sendable, Hashable, Codable {
  package struct Process: Sendable, Hashable, Codable {
    package var id: String
    package var pid: Int32
    /// With the pid it names the process for ever: a pid alone may be somebody else's by now.
    package var startTicks: UInt64

    package init(id: String, pid: Int32, startTicks: UInt64) {
      self.id = id
      self.pid = pid
      self.startTicks = startTicks
    }
  }

  package var version = StateFolder.version
  /// The boot and the process namespace the numbers belong to; after a reboot or in another container they name others.
  package var origin = RunRecord.ownOrigin
  package var keeper: Int32
  package var plane: Process?
  package var programs: [Process]

  package static var ownOrigin: String {
    // Where it cannot be read (not Linux) records of every boot look alike, and start times must tell them apart.
    let boot = (try? Files.text("/proc/sys/kernel/random/boot_id")) ?? ""
    return boot.filter { !$0.isNewline } + " " + (Files.linkTarget("/proc/self/ns/pid") ?? "")
  }

  package init(keeper: Int32, plane: Process?, programs: [Process]) {
    self.keeper = keeper
    self.plane = plane
    self.programs = programs
  }

  package func write(to folder: StateFolder) throws(SystemError) {
    // An encoder of three integers and two strings does not fail; if it did, there would be no record to write.
    guard let bytes = try? JSONEncoder().encode(self) else { return }
    try Files.replace(folder.pidsPath, with: Array(bytes))
  }

  /// The last run's record; nil when there is none or it is damaged, and then the mark in the environment must do.
  package static func read(from folder: StateFolder) -> RunRecord? {
    guard let bytes = try? Files.bytes(folder.pidsPath) else { return nil }  // No earlier run.
    let record = try? JSONDecoder().decode(RunRecord.self, from: Data(bytes))  // Damaged: as above.
    return record?.origin == ownOrigin ? record : nil
  }
}

/// Ends processes of a run whose keeper is gone.
///
/// They are found in three ways, for each alone has a hole: by pid and start time from the record (a full disk may have
/// kept it from being written), by process group of those (catches what a program started), and by the variable
/// `WEIR_RUN` in their environment (catches what left its group; but a program may overwrite its environment, as
/// PostgreSQL does to show its state in `ps`).
package enum Leftovers {
  /// What is left of the run, zombies, this process and its ancestors excepted.
  package static func find(run: String, known: [RunRecord.Process]) -> [ProcessTable.Entry] {
    let all = ProcessTable.all()
    var pids = Set(ProcessTable.withEnvironment(StateFolder.runVariable, run).map(\.pid))
    for process in known {
      let leader = all.first { $0.pid == process.pid }
      // A group's number is not given to a new process while the group has members, so no leader still means ours.
      guard leader == nil || leader?.startTicks == process.startTicks else { continue }
      for entry in all where entry.group == process.pid && entry.startTicks >= process.startTicks {
        pids.insert(entry.pid)
      }
      if let leader { pids.insert(leader.pid) }
    }
    var own: Int32? = Children.ownPid
    while let pid = own {
      pids.remove(pid)
      own = all.first { $0.pid == pid }?.parent
    }
    return all.filter { pids.contains($0.pid) && $0.state != "Z" && $0.state != "X" }
  }

  /// TERM to all of them, after `grace` KILL, until none is left or a second after the KILL; the names of what was
  /// found, and of what could not be ended.
  @discardableResult
  package static func end(run: String, known: [RunRecord.Process], grace: Duration)
    -> (found: [ProcessTable.Entry], left: [ProcessTable.Entry])
  {
    let found = find(run: run, known: known)
    if found.isEmpty { return ([], []) }
    let begin = SystemClock.now()
    let killAt = begin + grace
    // Nobody tells us of the end of a process that is not our child, so we look; 10 ms is not felt by anyone.
    let pause: Int64 = 10_000_000
    var told = Set<Int32>()
    var left = found
    // On a machine so busy that a look takes seconds, the time to give up must not come before the first KILL.
    var killedAt: Instant?
    while !left.isEmpty {
      let now = SystemClock.now()
      if let killedAt, now >= killedAt + .seconds(1) { return (found, left) }
      if now >= killAt, killedAt == nil { killedAt = now }
      for entry in left {
        if now >= killAt {
          Children.send(.kill, to: entry.pid)
        } else if told.insert(entry.pid).inserted {
          Children.send(.terminate, to: entry.pid)
        }
      }
      SystemThread.pause(nanoseconds: pause)
      left = find(run: run, known: known)
    }
    return (found, [])
  }
}
