// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// What a user may get wrong, and what a machine may lack: a sentence, an exit code, nothing left running.
  @Suite struct WrongUseTests {
    /// A file with one service.
    static func oneService(_ field: Field, run: String, health: String?) -> String {
      """
      weir: 1
      system: small
      gateway:
        listen: { port: \(field.port), host: 127.0.0.1 }
        routes:
          all: { path: /**, to: only }
      services:
        only:
          run: "\(run)"
      \(health.map { "    health: \($0)" } ?? "")
      """
    }

    @Test func aTakenPortIsNamedWithItsHolder() async throws {
      try await Field.with { field in
        try field.writeExample()
        let holder = Socket.make()
        defer { close(holder) }
        #expect(Socket.bind(holder, port: field.port) && listen(holder, 1) == 0)
        let run = try field.run()
        let code = try await run.end()
        let says = run.says
        Claims.holds(
          code == 2 && says.contains("\(field.port)") && says.contains("\(getpid())")
            && !says.contains("instance-started"),
          "a taken port: named with its holder, nothing started", "exit code \(code): \(says.firstLine)")
        #expect(Machine.processes(marked: field.folder).isEmpty)
      }
    }

    @Test func aMissingProgramIsToldWithItsService() async throws {
      try await Field.with { field in
        try field.write(Self.oneService(field, run: "no-such-program --port $PORT", health: "/healthz"))
        let run = try field.run()
        try await eventually("it is told") { run.says.contains("no-such-program") }
        let line = run.says.split(separator: "\n").first { $0.contains("no-such-program") } ?? ""
        #expect(line.contains("only-1"), "\(line)")
        run.ctrlC()
        let code = try await run.end()
        Claims.holds(code == 0, "a missing program: named with its service; Ctrl-C ends", "exit code \(code): \(line)")
        field.expectClear("after a missing program")
        let strict = try field.run(["--fail-fast"])
        let failed = try await strict.end()
        Claims.holds(failed == 1, "a missing program with --fail-fast: ends by itself", "exit code \(failed)")
        field.expectClear("after --fail-fast")
      }
    }

    @Test(arguments: [
      ("weir: 1\nsystem: }\n", 2), ("weir: 1\nsystem: small\nsystme: x\n", 3), ("", 1), ("weir: 1\n\tsystem: x\n", 2),
      ("weir: 1\nsystem: a\nsystem: b\n", 3),
    ])
    func aBrokenFileIsToldWithItsLine(text: String, line: Int) async throws {
      try await Field.with { field in
        try field.write(text)
        let run = try field.run()
        #expect(try await run.end() == 2)
        #expect(run.err.contains("weir.yaml:\(line)"), "\(run.err)")
        #expect(run.out.isEmpty)
        #expect(!FileManager.default.fileExists(atPath: field.state), "a file that cannot be read leaves no state")
        field.expectClear("after a broken file")
      }
    }

    @Test func aFileThatCannotBeReadIsTold() async throws {
      try await Field.with { field in
        // A folder in its place: root may read any file.
        try FileManager.default.createDirectory(atPath: field.file, withIntermediateDirectories: true)
        let run = try field.run()
        #expect(try await run.end() == 2)
        #expect(run.err.contains("weir.yaml"), "\(run.err)")
      }
    }

    @Test func aSecondRunIsToldWhoseStateItIs() async throws {
      try await Field.with { field in
        try field.writeExample()
        let first = try await field.runReady()
        let second = try field.run()
        let code = try await second.end()
        Claims.holds(
          code == 2 && second.err.contains("another weir run uses the state folder")
            && second.err.contains("\(first.pid)"),
          "a second run of the same state: told the first one's process id",
          "exit code \(code): \(field.short(second.err.firstLine))")
        #expect(try await field.ask("/api/notes").status == 200, "the first is not hindered")
        first.ctrlC()
        #expect(try await first.end() == 0)
      }
    }

    @Test func aStateFolderThatCannotBeIsTold() async throws {
      try await Field.with { field in
        try field.writeExample()
        try Data("a file".utf8).write(to: URL(fileURLWithPath: field.state))
        let run = try field.run()
        let code = try await run.end()
        Claims.holds(
          code == 2 && run.err.contains(field.state) && run.err.contains("--state"),
          "a state folder that cannot be made: told",
          "exit code \(code): \(field.short(run.err.line("state")))")
        field.expectClear("after a state folder that cannot be")
      }
    }

    // The logs' folder is a disk of 64 KiB that is full, or, where nothing may be mounted, files that take nothing.
    @Test func aFullDiskStopsNoRequest() async throws {
      try await Field.with { field in
        try field.writeExample()
        let logs = field.state + "/logs"
        try FileManager.default.createDirectory(atPath: logs, withIntermediateDirectories: true)
        let mount = try Program(
          "/bin/sh",
          ["-c", "mount -t tmpfs -o size=64k tmpfs \"$0\" && { cat /dev/zero >\"$0/fill\" || true; }", logs],
          in: field.folder)
        let isMounted = try await mount.end() == 0
        if !isMounted {
          for name in ["access", "api", "web", "search", "weir"] {
            try FileManager.default.createSymbolicLink(atPath: "\(logs)/\(name).log", withDestinationPath: "/dev/full")
          }
        }
        do {
          let run = try await field.runReady()
          for _ in 0..<50 { #expect(try await field.ask("/api/notes").status == 200) }
          try await eventually("it is told:\n\(run.err)") {
            run.says.contains("the disk is full") && run.says.contains("access log cannot be written")
          }
          run.ctrlC()
          let code = try await run.end()
          Claims.holds(
            code == 0, "a full disk under the logs: told, 50 of 50 requests answered",
            "\(isMounted ? "tmpfs of 64 KiB" : "/dev/full"), exit code \(code): \(field.short(run.says.line("disk")))"
          )
          field.expectClear("after a full disk")
        } catch {
          await unmount(isMounted, logs, field)
          throw error
        }
        await unmount(isMounted, logs, field)
      }
    }

    private func unmount(_ isMounted: Bool, _ path: String, _ field: Field) async {
      guard isMounted else { return }
      for process in Machine.processes(marked: field.folder) { kill(process.pid, SIGKILL) }
      do {
        try await eventually("\(path) is unmounted") {
          try await Program("/bin/sh", ["-c", "umount \"$0\"", path], in: field.folder).end() == 0
        }
      } catch { Issue.record(error) }
    }

    @Test func aProgramThatNeverGetsReadyIsTold() async throws {
      try await Field.with { field in
        try field.write(
          Self.oneService(
            field, run: "sleep 1000", health: "{ ready: /healthz, start-within: 1s, every: 200ms, timeout: 200ms }"))
        let run = try field.run()
        try await eventually("it is told:\n\(run.out)\n\(run.err)") {
          run.says.contains("only-1 was not ready within its start time")
        }
        #expect(try await field.ask("/").status == 503)
        run.ctrlC()
        let code = try await run.end()
        Claims.holds(code == 0, "a child that never gets ready: told; Ctrl-C ends everything", "exit code \(code)")
        field.expectClear("after a program that was never ready")
        let strict = try field.run(["--fail-fast"])
        let failed = try await strict.end(within: .seconds(60))
        Claims.holds(
          failed == 1, "a child that never gets ready with --fail-fast: ends by itself",
          "exit code \(failed): \(strict.says.split(separator: "\n").last ?? "")")
        field.expectClear("after --fail-fast")
      }
    }

    // What the program said last is told with its end.
    @Test func aProgramThatEndsAtOnceIsToldWithItsLastWords() async throws {
      try await Field.with { field in
        try field.write(Self.oneService(field, run: "sh -c 'echo no database here >&2; exit 7'", health: "/healthz"))
        let run = try field.run(["--fail-fast"])
        let code = try await run.end()
        #expect(code == 1)
        #expect(run.says.contains("only-1 ended by itself"), "\(run.err)")
        #expect(run.says.contains("only-1 said: no database here"), "\(run.err)")
        #expect(run.says.contains("7"), "the exit code is told: \(run.err)")
        field.expectClear("after a program that ends at once")
      }
    }

    // At every moment from the first on: the signal comes when that text is on the terminal.
    @Test(arguments: ["", "listening at", "instance-started web-1", "instance-started search-1", "instance-ready"])
    func ctrlCDuringStartUpLeavesNothing(when: String) async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try field.run()
        try await eventually("the run has begun") { FileManager.default.fileExists(atPath: field.state + "/lock") }
        try await eventually("'\(when)' is told") { when.isEmpty || run.out.contains(when) }
        run.ctrlC()
        let code = try await run.end()
        Claims.holds(
          code == 0, "Ctrl-C during start-up (\(when.isEmpty ? "at once" : when)): ends, nothing left",
          "exit code \(code)")
        field.expectClear("after Ctrl-C during start-up")
      }
    }
  }
}

extension String {
  var firstLine: String { split(separator: "\n").first.map(String.init) ?? "" }

  /// The first line that has the word.
  func line(_ word: String) -> String { split(separator: "\n").first { $0.contains(word) }.map(String.init) ?? "" }
}
