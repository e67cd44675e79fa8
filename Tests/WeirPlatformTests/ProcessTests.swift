// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirBase
import WeirPlatform

/// Files, locks, signals, processes and the clock.
struct ProcessTests {
  @Test("reads a process's line though its name is made to confuse")
  func stat() throws {
    let line = "42 (a) S (b) 7) S 1 40 39 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 987654 1000000 256 184 1 1 0\n"
    let entry = try #require(ProcessTable.parse(line, ticksPerSecond: 100, pageSize: 4096))
    #expect(entry.pid == 42 && entry.name == "a) S (b) 7" && entry.state == "S")
    #expect(entry.parent == 1 && entry.group == 40 && entry.threads == 3 && entry.startTicks == 987_654)
    #expect(entry.cpuNanoseconds == 2_000_000_000 && entry.residentBytes == 1 << 20)
    for broken in ["", "42", "42 (x", "42 (x) S 1", ") 42 ("] {
      #expect(ProcessTable.parse(broken, ticksPerSecond: 100, pageSize: 4096) == nil)
    }
  }

  @Test("knows this process, its parent, its memory")
  func own() throws {
    let own = try #require(ProcessTable.entry(of: Children.ownPid))
    #expect(own.parent == Children.ownParent && own.residentBytes > 1 << 20)
    #expect(ProcessTable.all().contains { $0.pid == own.pid })
  }

  @Test("finds a process by a pair of its environment, whole pairs only")
  func environment() throws {
    var spawn = Spawn(
      path: "/bin/sh", arguments: ["sh", "-c", "read x"],
      environment: [(name: "A", value: "1"), (name: "WEIR_TEST_MARK", value: "mark 7")])
    let (read, write) = try Descriptor.pipe()
    spawn.descriptors = [(read, 0)]
    let pid = try spawn.start()
    #expect(ProcessTable.withEnvironment("WEIR_TEST_MARK", "mark 7").map(\.pid) == [pid])
    #expect(ProcessTable.withEnvironment("WEIR_TEST_MARK", "mark").isEmpty)
    withExtendedLifetime(write) {}
    Children.send(.kill, to: pid)
    _ = Children.reap(pid: pid, waiting: true)
  }

  @Test("one process at a time holds the lock; the next one is told who; its end frees it")
  func lock() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/lock"
    var held: FolderLock? = try FolderLock(path: path)
    #expect(throws: FolderLock.Failure.held(path: path, by: Children.ownPid)) { try FolderLock(path: path) }
    held = nil
    held = try FolderLock(path: path)
    withExtendedLifetime(held) {}
  }

  @Test("programs are looked for as execvp does, and what is wrong is told")
  func programs() throws {
    let scratch = try Scratch()
    let folder = scratch.path
    try Files.makeFolder(folder + "/bin/tool")
    try Files.makeFolder(folder + "/other")
    try Files.replace(folder + "/other/tool", with: [], permissions: 0o700)
    try Files.replace(folder + "/other/plain", with: [], permissions: 0o600)
    try Files.replace(folder + "/here", with: [], permissions: 0o700)
    func find(_ word: String, path: String = "/none:bin:other") throws(ProgramFileError) -> String {
      try ProgramFile.find(word, directory: folder, path: path)
    }
    #expect(try find("tool") == folder + "/other/tool", "a folder of that name is passed over")
    #expect(try find("./here") == folder + "/./here")
    #expect(try find("other/tool") == folder + "/other/tool")
    #expect(try find("here", path: "/none:") == folder + "/./here", "an empty folder is the present one")
    #expect(throws: ProgramFileError.notExecutable(file: folder + "/other/plain")) { try find("plain") }
    #expect(throws: ProgramFileError.missing(file: folder + "/./nothing")) { try find("./nothing") }
    #expect(throws: ProgramFileError.folder(file: folder + "/bin/tool")) { try find("bin/tool") }
    #expect(throws: ProgramFileError.empty) { try find("") }
    #expect(
      throws: ProgramFileError.notInPath(word: "here", folders: ["/none"], local: "./here")
    ) { try find("here", path: "/none") }
    #expect(
      "\(ProgramFileError.notInPath(word: "here", folders: ["/none"], local: "./here"))".hasSuffix(
        "did you mean ./here?"))
  }

  @Test("a file is replaced as a whole; where that fails the old one stays and nothing else is left")
  func replace() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/f"
    try Files.replace(path, with: Array("one".utf8))
    try Files.replace(path, with: Array("two".utf8))
    #expect(try Files.text(path) == "two")
    // The fresh copy is written beside it; this one refuses every byte.
    try Files.link("/dev/full", at: path + ".new")
    let failure = #expect(throws: SystemError.self) { try Files.replace(path, with: Array("three".utf8)) }
    #expect(failure?.isDiskFull == true)
    #expect(try Files.text(path) == "two")
    #expect(try Files.names(in: scratch.path) == ["f"])
    #expect(Files.parent(of: "/a") == "/" && Files.parent(of: "a") == "." && Files.parent(of: "/a/b") == "/a")
  }

  @Test("signals can be read")
  func signals() throws {
    let pipe = try SignalPipe([.user1])
    Children.send(.user1, to: Children.ownPid)
    var interests = [Poll.Interest(pipe.descriptor)]
    try eventually("it is readable") { try Poll.wait(&interests, nanoseconds: 1_000_000_000) == 1 }
    #expect(interests[0].readable)
    #expect(pipe.take() == [.user1])
    #expect(pipe.take().isEmpty)
  }

  @Test(
    "civil time is written as RFC 3339",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (1_795_255_071_123, "2026-11-21T09:57:51.123Z"),
      (951_782_399_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (-1, "1969-12-31T23:59:59.999Z"),
    ])
  func rfc3339(milliseconds: Int64, text: String) {
    #expect(WallTime(milliseconds: milliseconds).rfc3339 == text)
  }

  @Test("the clock goes on, and a wait lasts as long as asked")
  func clock() throws {
    let begin = SystemClock.now()
    var interests: [Poll.Interest] = []
    try Poll.wait(&interests, nanoseconds: 1_500_000)
    #expect(SystemClock.now().since(begin) >= 1_500_000)
    #expect(SystemClock.wall() > WallTime(milliseconds: 1_700_000_000_000))
  }
}
