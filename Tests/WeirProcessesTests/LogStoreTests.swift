// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPlatform
import WeirProcesses

/// Log files, their rotation, and a disk that fills and empties.
final class LogStoreTests {
  let path = NSTemporaryDirectory() + "/weir-logs-\(UUID().uuidString.prefix(8))"

  deinit { try? FileManager.default.removeItem(atPath: path) }

  static func line(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("is told once when it fails and once when it works again, with what was lost; tries every two seconds")
  func fullDisk() throws {
    let folder = try StateFolder(creating: path)
    let store = LogStore(folder: folder)
    try Files.link("/dev/full", at: folder.logPath(service: "api"))
    let wall = WallTime(milliseconds: 0)
    func append(_ seconds: Int) -> LogStore.Notice {
      store.append(service: "api", id: "api-1", line: Self.line("x"), wall: wall, now: .zero + .seconds(seconds))
    }
    guard case .failing(let error) = append(0) else {
      Issue.record("not told")
      return
    }
    #expect(error.isDiskFull)
    #expect(append(1) == .none)
    #expect(append(2) == .none, "tried again and failed again, told already")
    try Files.remove(folder.logPath(service: "api"))
    #expect(append(3) == .none, "not tried again yet")
    #expect(append(4) == .mended(lost: 4))
    #expect(try Files.text(folder.logPath(service: "api")) == "1970-01-01T00:00:00.000Z api-1 | x\n")
  }

  @Test("a file at its limit moves on; the third oldest is dropped; a line longer than the limit is still written")
  func rotation() throws {
    try Files.makeFolder(path)
    let file = LogFile(path: path + "/a.log", bytesMax: 10)
    for text in ["12345", "1234", "b", "a line longer than ten", "c", "d"] { try file.append(Self.line(text)) }
    #expect(try Files.text(path + "/a.log") == "c\nd\n")
    #expect(try Files.text(path + "/a.log.1") == "a line longer than ten\n")
    #expect(try Files.text(path + "/a.log.2") == "1234\nb\n")
    #expect(try Files.names(in: path).count == 3)
  }

  @Test("goes on at the end of what an earlier run wrote")
  func reopened() throws {
    try Files.makeFolder(path)
    try LogFile(path: path + "/a.log", bytesMax: 10).append(Self.line("1234"))
    let file = LogFile(path: path + "/a.log", bytesMax: 10)
    try file.append(Self.line("5678"))
    #expect(try Files.text(path + "/a.log") == "1234\n5678\n")
    try file.append(Self.line("9"))
    #expect(try Files.text(path + "/a.log") == "9\n")
  }

  @Test("the state folder is private, versioned, and can be made below what is missing")
  func folder() throws {
    let folder = try StateFolder(creating: path + "/x/.weir/shop")
    #expect(try Files.text(folder.versionPath) == "1\n")
    let facts = try FileManager.default.attributesOfItem(atPath: folder.path)
    #expect((facts[.posixPermissions] as? NSNumber)?.intValue == 0o700)
    _ = try StateFolder(creating: folder.path)
    #expect(StateFolder.existing(folder.path) == folder)
    #expect(StateFolder.existing(path + "/nowhere") == nil)
    try Files.replace(folder.versionPath, with: Self.line("what?"))
    #expect(throws: StateFolderError.damaged(folder.versionPath)) { try StateFolder(creating: folder.path) }
  }

  @Test("a record of another boot or container names nobody")
  func records() throws {
    let folder = try StateFolder(creating: path)
    #expect(RunRecord.read(from: folder) == nil)
    var record = RunRecord(keeper: 7, plane: nil, programs: [.init(id: "api-1", pid: 9, startTicks: 11)])
    try record.write(to: folder)
    #expect(RunRecord.read(from: folder) == record)
    record.origin = "another boot"
    try record.write(to: folder)
    #expect(RunRecord.read(from: folder) == nil)
    try Files.replace(folder.pidsPath, with: Self.line("{"))
    #expect(RunRecord.read(from: folder) == nil)
  }

  @Test("a process is not taken for another one of its number")
  func reused() throws {
    let own = try #require(ProcessTable.entry(of: Children.ownPid))
    let spawn = Spawn(
      path: "/bin/sh", arguments: ["sh", "-c", "exec sleep 1000"], environment: [(name: "PATH", value: "/usr/bin:/bin")]
    )
    let pid = try spawn.start()
    defer {
      Children.send(.kill, to: pid)
      _ = Children.reap(pid: pid, waiting: true)
    }
    let ticks = try #require(ProcessTable.entry(of: pid)).startTicks
    func found(_ ticks: UInt64) -> [Int32] {
      Leftovers.find(run: "/nowhere", known: [.init(id: "x", pid: pid, startTicks: ticks)]).map(\.pid)
    }
    #expect(found(ticks) == [pid])
    #expect(found(ticks - 1) == [])
    #expect(Leftovers.find(run: "/nowhere", known: [.init(id: "x", pid: own.pid, startTicks: own.startTicks)]).isEmpty)
  }
}
