// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirPlatform

/// Programs started, and not started.
struct SpawnTests {
  @Test("the child has the environment, directory and words it was given, and no more")
  func surroundings() throws {
    let scratch = try Scratch()
    let out = try shell("pwd; env | grep -v -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD | sort") {
      $0.directory = scratch.path
      $0.environment.append((name: "A", value: "b=c d"))
    }
    #expect(out == "\(scratch.path)\nA=b=c d\nPATH=/usr/bin:/bin\n")
  }

  @Test("descriptors arrive at their numbers, even where sources and targets overlap; others do not arrive")
  func descriptors() throws {
    let scratch = try Scratch()
    var files: [Descriptor] = []
    for index in 0..<4 {
      try Files.replace("\(scratch.path)/\(index)", with: Array("file \(index)\n".utf8))
      files.append(try Descriptor.open("\(scratch.path)/\(index)", .read))
    }
    let leaked = try Descriptor.open("\(scratch.path)/0", .read)
    // One that forgot to be close-on-exec must not arrive either.
    try leaked.setCloseOnExec(false)
    let out = try shell("cat <&3; cat <&4; cat <&5; cat <&6; ls /proc/self/fd | tr '\\n' ' '") { spawn in
      // The first four are targets of one another as far as the system's numbering allows.
      let targets: [Int32] = [4, 3, 6, 5]
      for (file, target) in zip(files, targets) { spawn.descriptors.append((file, target)) }
    }
    // 7 is the folder that ls reads.
    #expect(out == "file 1\nfile 0\nfile 3\nfile 2\n0 1 2 3 4 5 6 7 ")
  }

  @Test("signals are at their defaults in the child, and none is blocked")
  func signals() throws {
    Signal.brokenPipe.ignore()
    let out = try shell("cat /proc/self/status | grep -E '^Sig(Blk|Ign|Cgt)'")
    let masks = out.split(separator: "\n").compactMap { UInt64($0.split(separator: "\t")[1], radix: 16) }
    #expect(masks.count == 3)
    // 32 and 33 belong to the C library, which lets nobody change them.
    for mask in masks { #expect(mask & ~(3 << 31) == 0) }
  }

  @Test("what cannot run is an error with the step that failed, and leaves no process")
  func failures() throws {
    let scratch = try Scratch()
    func start(_ path: String, directory: String? = nil, words: [String] = ["x"]) throws(SpawnError) {
      _ = try Spawn(path: path, arguments: words, environment: [], directory: directory).start()
    }
    #expect(throws: SpawnError.program("/no/such", number: 2)) { try start("/no/such") }
    #expect(throws: SpawnError.program(scratch.path, number: 13)) { try start(scratch.path) }
    #expect(throws: SpawnError.directory("/no/such", number: 2)) { try start("/bin/sh", directory: "/no/such") }
    #expect(throws: SpawnError.containsNull("a\0b")) { try start("/bin/sh", words: ["sh", "a\0b"]) }
    let large = String(repeating: "x", count: 200_000)
    #expect(throws: SpawnError.program("/bin/sh", number: 7)) { try start("/bin/sh", words: ["sh", large]) }
    #expect(SpawnError.program("/bin/sh", number: 7).description.contains("larger than the system takes"))
  }

  @Test("an end is told by code or by signal")
  func ends() throws {
    func end(_ script: String) throws -> Children.Reaped {
      let pid = try Spawn(
        path: "/bin/sh", arguments: ["sh", "-c", script], environment: [(name: "PATH", value: "/bin")]
      ).start()
      return Children.reap(pid: pid, waiting: true)
    }
    guard case .ended(_, let coded) = try end("exit 3"), case .ended(_, let killed) = try end("kill -9 $$") else {
      Issue.record("not ended")
      return
    }
    #expect(coded == .code(3) && "\(coded)" == "exit code 3")
    #expect(killed == .signal(.kill, dumpedCore: false) && "\(killed)" == "SIGKILL")
  }

  @Test("a group of its own can be ended as a whole")
  func group() throws {
    let (read, write) = try Descriptor.pipe()
    var spawn = Spawn(
      path: "/bin/sh", arguments: ["sh", "-c", "sleep 1000 & echo up; wait"],
      environment: [(name: "PATH", value: "/usr/bin:/bin")])
    spawn.descriptors = [(write, 1)]
    let pid = try spawn.start()
    #expect(try read.read(upTo: 10) == Array("up\n".utf8))
    #expect(ProcessTable.all().filter { $0.group == pid }.count == 2)
    Children.send(.kill, toGroup: pid)
    _ = Children.reap(pid: pid, waiting: true)
    try eventually("the group is gone, or a zombie of another parent") {
      ProcessTable.all().allSatisfy { $0.group != pid || $0.state == "Z" }
    }
  }

  @Test("descriptors and bytes travel together over a socket")
  func passing() throws {
    let scratch = try Scratch()
    try Files.replace(scratch.path + "/x", with: Array("content".utf8))
    let (a, b) = try Descriptor.socketPair()
    let file = try Descriptor.open(scratch.path + "/x", .read)
    #expect(try a.send(Array("hello".utf8), passing: [file, file]) == 5)
    let (bytes, came) = try b.receive(upTo: 100)
    #expect(bytes == Array("hello".utf8))
    #expect(came.count == 2)
    #expect(try came[1].read(upTo: 100) == Array("content".utf8))
    #expect(!came.contains { $0.number == file.number })
  }
}
