// SPDX-License-Identifier: Apache-2.0

import TestPrograms
import Testing
import WeirBase
import WeirPlatform
import WeirProcesses

/// The keeper with real processes.
///
/// One after the other: they measure seconds on a machine of two cores.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct KeeperTests {
  /// A program that runs until it is told to end.
  ///
  /// `exec`, so that there is one process a program.
  static let idle = "exec sleep 1000"

  /// Dependencies first, by readiness and not by start.
  @Test("starts in dependency order, each after what it needs is ready")
  func order() throws {
    let keeper = try KeeperHarness([
      .shell("web", Self.idle, needs: ["api"]), .shell("api", Self.idle, needs: ["db"], instances: 2),
      .shell("db", Self.idle),
    ])
    keeper.fixture.services[2].readyFile = keeper.folder + "/db-is-ready"
    try keeper.start()
    try keeper.event("started db-1")
    try keeper.event("serving")
    #expect(!keeper.events.contains { $0.hasPrefix("started api") })
    try Files.replace(keeper.folder + "/db-is-ready", with: [])
    try keeper.event("ready web-1")
    let order = keeper.events.filter { $0.hasPrefix("started") }.map { $0.split(separator: " ")[1] }
    #expect(order == ["db-1", "api-1", "api-2", "web-1"])

    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
    #expect(keeper.events.last == "drain")
  }

  /// Programs end in the opposite order; each has ended before the next is told.
  @Test("stops who depends first, and gives each its time")
  func stopOrder() throws {
    // Those who must end first are the slowest: told at the same time, they would end last.
    func script(_ name: String, _ seconds: Double) -> String {
      "trap 'sleep \(seconds); echo \(name) ends >> $ORDER; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    }
    let keeper = try KeeperHarness([
      .shell("db", script("db", 0)), .shell("api", script("api", 0.1), needs: ["db"]),
      .shell("web", script("web", 0.2), needs: ["api"]),
    ])
    for index in 0..<3 { keeper.fixture.services[index].environment = [.init("ORDER", keeper.folder + "/order")] }
    try keeper.start()
    try keeper.event("ready web-1")
    // Each has set its trap when it has said so.
    try keeper.eventually("all are up") { ["db", "api", "web"].allSatisfy { keeper.log($0).contains("up") } }
    keeper.send(.terminate)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.text("order") == "web ends\napi ends\ndb ends\n")
  }

  /// Names before lines, lines whole, both streams, the last unfinished one too; `.log` has the time as well.
  @Test("captures standard output and error with the instance's name")
  func capture() throws {
    let keeper = try KeeperHarness([
      .shell("api", "echo out; echo err >&2; printf 'no newline'; exec sleep 1000"),
      .shell("longer-name", "echo hello; exec sleep 1000"),
    ])
    try keeper.start()
    try keeper.eventually("the unfinished line") { keeper.log("api").contains("api-1 | no newline\n") }
    try keeper.eventually("hello") { keeper.out.contains("longer-name-1 | hello\n") }
    #expect(keeper.out.contains("api-1 "))
    #expect(keeper.out.contains("| out\n") && keeper.out.contains("| err\n"))
    #expect(!keeper.out.contains("\u{1b}"), "no colours where no terminal is")
    let first = try #require(keeper.log("api").split(separator: "\n").first)
    #expect(first.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z api-1 \| (out|err)/) != nil)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("a program gets its own environment, no input, its own group, and no descriptor of ours")
  func surroundings() throws {
    let script =
      "cat; env | sort | tr '\\n' ' '; ls -l /proc/self/fd | wc -l; ulimit -n; cut -d' ' -f5 /proc/$$/stat; echo $$; exec sleep 1000"
    let keeper = try KeeperHarness([.shell("api", script)])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0, count: 3)]
    keeper.fixture.services[0].environment = [.init("COLOUR", "blue"), .init("PATH", "/usr/bin:/bin")]
    try keeper.start()
    try keeper.eventually("five lines") { keeper.log("api").split(separator: "\n").count >= 4 }
    let lines = keeper.log("api").split(separator: "\n").map { String($0.split(separator: "| ")[1]) }
    // The shell adds PWD, SHLVL and _ by itself.
    let names = lines[0].split(separator: " ").map { $0.split(separator: "=")[0] }.filter {
      $0.allSatisfy { !$0.isNumber }
    }
    #expect(Set(names).subtracting(["PWD", "SHLVL", "_", "OLDPWD"]) == ["COLOUR", "INSTANCE", "PATH", "WEIR_RUN"])
    // `total`, 0, 1, 2 and the folder that ls reads.
    #expect(lines[0].hasSuffix(" 5"))
    #expect(lines[1] == "\(ResourceLimits.openFiles())", "the limit of open files is not the keeper's raised one")
    #expect(lines[2] == lines[3], "leads its own process group")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("restarts a program that ended, later each time, and says what it wrote last")
  func restart() throws {
    let keeper = try KeeperHarness([.shell("api", "echo one; echo two; exit 7")])
    keeper.fixture.services[0].readyFile = "/nowhere"
    try keeper.start()
    try keeper.event("trouble api-1 3 hopeless")
    let exit = try keeper.event("exited api-1")
    #expect(exit == "exited api-1 exit code 7 asked=false last=one/two")
    try keeper.event("started api-1", count: 4)
    let open = try Files.names(in: "/proc/\(keeper.pid)/fd").count
    // Signals (2), the lock, output (4), null, the control connection and the pipes of the program: no more after each run.
    #expect(open <= 14, "\(open) descriptors are open")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("a killed program is started again")
  func killed() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle, instances: 2)])
    try keeper.start()
    let pid = try keeper.started("api-1")
    try keeper.event("ready api-1")
    Children.send(.kill, to: pid)
    let again = try keeper.started("api-1", count: 2)
    #expect(again != pid)
    try keeper.event("exited api-1 SIGKILL")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("TERM first, KILL after the grace, to the whole group")
  func stubborn() throws {
    // A child in the group that ignores TERM as well.
    let keeper = try KeeperHarness([
      .shell(
        "api",
        "trap '' TERM; (trap '' TERM; echo child; while :; do sleep 0.05; done) & echo up; while :; do sleep 0.05; done"
      )
    ])
    keeper.fixture.services[0].stopGrace = .milliseconds(300)
    try keeper.start()
    try keeper.eventually("both are up") { keeper.log("api").contains("child") && keeper.log("api").contains("up") }
    let begin = SystemClock.now()
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    let took = SystemClock.now().since(begin)
    #expect(took >= 300_000_000, "the grace was given")
    #expect(keeper.living.isEmpty)
  }

  @Test("grandchildren end too, also those that left the group")
  func grandchildren() throws {
    let keeper = try KeeperHarness([
      .shell(
        "api",
        "setsid sh -c 'trap \"\" TERM; echo escaped; while :; do sleep 0.05; done' & sleep 999 & echo up; exec sleep 1000"
      )
    ])
    try keeper.start()
    try keeper.eventually("the grandchild is up") { keeper.log("api").contains("escaped") }
    try keeper.eventually("all three run") { keeper.living.filter { $0.name == "sleep" }.count >= 2 }
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("what a dead program leaves in its group is ended before it is started again")
  func leftInGroup() throws {
    let keeper = try KeeperHarness([
      .shell("api", "(trap '' TERM; echo worker $$; while :; do sleep 0.05; done) & echo up; exec sleep 1000")
    ])
    keeper.fixture.services[0].stopGrace = .milliseconds(300)
    try keeper.start()
    let pid = try keeper.started("api-1")
    try keeper.eventually("the worker is up") { keeper.log("api").contains("worker") }
    Children.send(.kill, to: pid)
    try keeper.event("exited api-1")
    #expect(!Children.groupExists(pid))
    _ = try keeper.started("api-1", count: 2)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  // MARK: The plane dies

  /// The process id of the plane that answers; nil when it took the connection and died.
  ///
  /// Refused: an error.
  func ask(_ port: UInt16) throws -> Int32? {
    let connection = try Connecting.tcp(address: "127.0.0.1", port: port)
    guard let bytes = try? connection.read(upTo: 32), !bytes.isEmpty else { return nil }
    return Int32(String(decoding: bytes, as: UTF8.self).dropLast())
  }

  @Test("a plane killed with -9 is back in under a second; programs and sockets live on")
  func planeKilled() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle, instances: 2), .shell("web", Self.idle, needs: ["api"])])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0, count: 2)]
    try keeper.start()
    try keeper.event("ready web-1")
    let port = try #require(UInt16(try keeper.event("opened gateway").split(separator: " ")[2]))
    let plane = try #require(try ask(port))
    let programs = try [keeper.started("api-1"), keeper.started("api-2"), keeper.started("web-1")]

    let begin = SystemClock.now()
    Children.send(.kill, to: plane)
    // Not refused at any moment: a connection waits in the socket's backlog for the next plane. Only what the dying one
    // has already taken is lost, as any request in flight.
    var next = plane
    try keeper.eventually("the next plane answers") {
      next = try ask(port) ?? plane
      return next != plane
    }
    let took = SystemClock.now().since(begin)
    #expect(took < 1_000_000_000, "took \(took / 1_000_000) ms")
    let adopted = try keeper.event("adopted 2")
    #expect(adopted == "adopted 2 api-1:\(programs[0]),api-2:\(programs[1]),web-1:\(programs[2])")
    #expect(programs.allSatisfy { ProcessTable.entry(of: $0) != nil })
    #expect(keeper.events.filter { $0.hasPrefix("started") }.count == 3, "nothing was started anew")
    #expect(keeper.out.contains("the plane ended unasked (SIGKILL); 3 programs and 1 listeners live on"))

    // The new plane supervises as the old one did.
    Children.send(.kill, to: programs[0])
    _ = try keeper.started("api-1", count: 2)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("a plane that is killed again and again is always back in a second")
  func planeKilledAgain() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0)]
    try keeper.start()
    try keeper.event("ready api-1")
    let port = try #require(UInt16(try keeper.event("opened gateway").split(separator: " ")[2]))
    let program = try keeper.started("api-1")
    for round in 1...6 {
      let plane = try #require(try ask(port))
      let begin = SystemClock.now()
      Children.send(.kill, to: plane)
      try keeper.eventually("the next plane answers") { (try ask(port) ?? plane) != plane }
      let took = SystemClock.now().since(begin)
      #expect(took < 1_000_000_000, "round \(round) took \(took / 1_000_000) ms")
    }
    #expect(ProcessTable.entry(of: program) != nil)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("a program that ends while there is no plane is started by the next one")
  func endedUnseen() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0)]
    try keeper.start()
    let pid = try keeper.started("api-1")
    try keeper.event("ready api-1")
    let port = try #require(UInt16(try keeper.event("opened gateway").split(separator: " ")[2]))
    let plane = try #require(try ask(port))
    // Stopped, so that it cannot see the program's end before its own.
    Children.send(.pause, to: plane)
    Children.send(.kill, to: pid)
    Children.send(.kill, to: plane)
    #expect(try keeper.started("api-1", count: 2) != pid)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("a plane that cannot start ends the run with its exit code")
  func planeFails() throws {
    let keeper = try KeeperHarness()
    keeper.fixture.planeExits = 2
    try keeper.start()
    #expect(try keeper.wait() == .code(2))
  }

  @Test("a plane that crashes before it was ever ready is given up")
  func planeCrashes() throws {
    let keeper = try KeeperHarness()
    keeper.fixture.planeArgv = ["/bin/sh", "-c", "kill -SEGV $$"]
    try keeper.start()
    #expect(try keeper.wait() == .code(3))
    #expect(keeper.out.contains("before it was ready: giving up"))
  }

  @Test("the plane's exit code is the run's")
  func exitCode() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.planeCode = 1
    try keeper.start()
    try keeper.event("ready api-1")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(1))
  }

  // MARK: The keeper dies

  @Test("kill -9 of the keeper leaves nothing within 3 s, not even what ignores TERM; the next run is clean")
  func keeperKilled() throws {
    let keeper = try KeeperHarness([
      .shell("api", Self.idle),
      .shell("stubborn", "trap '' TERM; echo up; while :; do sleep 0.05; done"),
      .shell("escaped", "setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.05; done' & exec sleep 1000"),
    ])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0)]
    try keeper.start()
    try keeper.event("ready escaped-1")
    try keeper.eventually("all are up") {
      keeper.log("stubborn").contains("up") && keeper.log("escaped").contains("up")
    }
    // The plane, three programs and what escaped; beside them the short sleeps of the loops come and go.
    #expect(keeper.living.count >= 5)
    #expect(keeper.text("state/pids.json").contains("stubborn-1"))
    let begin = SystemClock.now()
    keeper.kill()
    try keeper.eventually("nothing is left") { keeper.living.isEmpty }
    let took = SystemClock.now().since(begin)
    #expect(took < 3_000_000_000, "took \(took / 1_000_000) ms")

    let port = try #require(UInt16(try keeper.event("opened gateway").split(separator: " ")[2]))
    keeper.fixture.listen[0].port = port
    keeper.fixture.services[1].stopGrace = .milliseconds(300)
    try keeper.start()
    try keeper.event("ready escaped-1", count: 2)
    #expect(!keeper.out.contains("earlier run"), "there was nothing to clear up")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("when keeper and plane die together the next run ends what they left")
  func bothKilled() throws {
    let keeper = try KeeperHarness([
      .shell("stubborn", "trap '' TERM; echo up $$; while :; do sleep 0.05; done"),
      // Without the mark in its environment it is found by its pid and start time.
      .shell("unmarked", "exec env -i sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.05; done'"),
    ])
    try keeper.start()
    let old = try keeper.started("stubborn-1")
    let unmarked = try keeper.started("unmarked-1")
    try keeper.eventually("both are up") {
      keeper.log("stubborn").contains("up") && keeper.log("unmarked").contains("up")
    }
    try keeper.eventually("the record is written") { keeper.text("state/pids.json").contains("\(unmarked)") }
    let plane = try #require(keeper.living.first { $0.name.hasPrefix("weir-keeper") })
    // Stopped first, or it would clear up between the two blows.
    Children.send(.pause, to: plane.pid)
    keeper.kill()
    Children.send(.kill, to: plane.pid)
    #expect(ProcessTable.entry(of: old) != nil)

    try keeper.start()
    let new = try keeper.started("stubborn-1", count: 2)
    #expect(new != old)
    for pid in [old, unmarked] { #expect(ProcessTable.entry(of: pid).map { $0.state == "Z" } ?? true) }
    #expect(keeper.out.contains("ended what an earlier run left: "))
    keeper.fixture.services[0].stopGrace = .milliseconds(100)
    keeper.send(.interrupt)
    try keeper.eventually("it ends") { keeper.out.contains("ending") }
    try keeper.eventually("half a second passed and the second wish counts") {
      keeper.send(.interrupt)
      return keeper.out.contains("hurrying")
    }
    #expect(try keeper.wait() == .code(1))
  }

  // MARK: What users get wrong

  @Test("a second run on the same state folder is refused with the holder's process id")
  func twice() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    try keeper.start()
    try keeper.event("ready api-1")
    let second = try KeeperHarness()
    second.fixture.state = keeper.fixture.state
    try second.start()
    #expect(try second.wait() == .code(2))
    #expect(
      second.err.contains("another weir run uses the state folder \(keeper.fixture.state) (process \(keeper.pid))"))
    second.fixture.state = second.folder
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("a taken port is named, with who has it, and nothing is started", arguments: [1, 2])
  func takenPort(sockets: Int) throws {
    let (shared, sharedPort) = try Listening.tcp(address: "127.0.0.1", port: 0, count: 2)
    defer { withExtendedLifetime(shared) {} }
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: sharedPort, count: sockets)]
    try keeper.start()
    #expect(try keeper.wait() == .code(2))
    let own = try #require(ProcessTable.entry(of: Children.ownPid)).name
    #expect(
      keeper.err
        == "weir: cannot listen for 'gateway': port \(sharedPort) on 127.0.0.1 is taken by \(own) (process \(Children.ownPid))\n"
    )
    #expect(keeper.events.isEmpty)
  }

  @Test("a program that is not there, not executable or a folder is told in words, and tried again")
  func cannotRun() throws {
    let keeper = try KeeperHarness()
    try Files.replace(keeper.folder + "/plain", with: Array("text".utf8))
    try TestProgram.install(Array("text".utf8), at: keeper.folder + "/text")
    try TestProgram.install(Array("#!/nowhere/sh\n".utf8), at: keeper.folder + "/no-interpreter")
    func service(_ name: String, _ word: String) -> Fixture.Service {
      Fixture.Service(name: name, argv: [word], directory: keeper.folder)
    }
    keeper.fixture.services = [
      service("a", "no-such-program"), service("b", "./plain"), service("c", "./missing"), service("d", "./"),
      service("e", "./text"), service("f", "./no-interpreter"), service("g", "plain"),
    ]
    keeper.fixture.services[6].environment = [.init("PATH", keeper.folder)]
    try keeper.start()
    #expect(try keeper.event("failed a-1").contains("'no-such-program' is in none of the folders of PATH"))
    #expect(try keeper.event("failed b-1").hasSuffix("/./plain is not executable (chmod +x \(keeper.folder)/./plain)"))
    #expect(try keeper.event("failed c-1").contains("there is no file \(keeper.folder)/./missing"))
    #expect(try keeper.event("failed d-1").contains("is a folder"))
    #expect(try keeper.event("failed e-1").contains("neither a program of this machine nor a script"))
    #expect(try keeper.event("failed f-1").contains("the interpreter its first line names"))
    #expect(try keeper.event("failed g-1").contains("is not executable"))
    try keeper.event("trouble a-1 3 hopeless")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("a full disk is told once; programs, their output and the end go on")
  func diskFull() throws {
    let keeper = try KeeperHarness([
      .shell(
        "api",
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i of many that fill the disk; done; exec sleep 1000")
    ])
    // /dev/full refuses every write with ENOSPC.
    try Files.makeFolder(keeper.folder + "/state/logs")
    try Files.link("/dev/full", at: keeper.folder + "/state/logs/api.log")
    try keeper.start()
    try keeper.eventually("all lines are shown") { keeper.out.contains("line 3000 of many") }
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    let told = keeper.err.split(separator: "\n").filter { $0.contains("the disk is full") }
    #expect(told.count == 1, "\(keeper.err)")
    #expect(keeper.living.isEmpty)
  }

  @Test("a state folder that cannot be made or used is told in words")
  func badState() throws {
    let keeper = try KeeperHarness()
    try Files.replace(keeper.folder + "/file", with: [])
    keeper.fixture.state = keeper.folder + "/file/state"
    try keeper.start()
    #expect(try keeper.wait() == .code(2))
    #expect(keeper.err.contains("cannot make \(keeper.folder)/file"))

    keeper.fixture.state = keeper.folder + "/newer"
    try Files.makeFolder(keeper.fixture.state)
    try Files.replace(keeper.fixture.state + "/version", with: Array("9\n".utf8))
    try keeper.start()
    #expect(try keeper.wait() == .code(2))
    #expect(keeper.err.contains("was written by a newer weir (layout 9"))
  }

  // MARK: Ends

  @Test("Ctrl-C while programs start leaves nothing", arguments: [0, 1, 2])
  func endDuringStart(moment: Int) throws {
    let keeper = try KeeperHarness([
      .shell("db", Self.idle), .shell("api", Self.idle, needs: ["db"], instances: 4),
      .shell("web", Self.idle, needs: ["api"], instances: 4),
    ])
    try keeper.start()
    switch moment {
    // The first thing the keeper leaves behind: its signals are caught by then.
    case 0: try keeper.eventually("the lock") { Files.exists(keeper.fixture.state + "/lock") }
    case 1: try keeper.event("adopted")
    default: try keeper.event("started api-1")
    }
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  /// This plane does not listen for it, so it ends of it and is started again: that it was passed on is seen by that.
  @Test("SIGHUP without a closed terminal is passed on to the plane and ends nothing")
  func hangup() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    try keeper.start()
    try keeper.event("ready api-1")
    keeper.send(.hangup)
    try keeper.event("adopted", count: 2)
    keeper.send(.interrupt)
    _ = try keeper.wait()
    #expect(keeper.living.isEmpty)
  }

  @Test("a second Ctrl-C cuts the drain short")
  func hurry() throws {
    let keeper = try KeeperHarness([.shell("api", "trap '' TERM; echo up; while :; do sleep 0.05; done")])
    keeper.fixture.planeIgnoresTerm = true
    keeper.fixture.drainLimit = .seconds(600)
    keeper.fixture.services[0].stopGrace = .seconds(600)
    try keeper.start()
    try keeper.eventually("it is up") { keeper.log("api").contains("up") }
    keeper.send(.interrupt)
    try keeper.event("drain")
    try keeper.eventually("the second wish counts") {
      keeper.send(.interrupt)
      return keeper.out.contains("hurrying")
    }
    #expect(try keeper.wait() == .code(1))
    #expect(keeper.living.isEmpty)
  }

  @Test("a plane that does not drain in time is killed, and the run says so")
  func drainLimit() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.planeIgnoresTerm = true
    keeper.fixture.drainLimit = .milliseconds(200)
    try keeper.start()
    try keeper.event("ready api-1")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(1))
    #expect(keeper.out.contains("did not end within 0.2 s"))
    #expect(keeper.living.isEmpty)
  }

  @Test("logs are rotated by size and kept to three files")
  func rotation() throws {
    let keeper = try KeeperHarness([
      .shell("api", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo done; exec sleep 1000")
    ])
    keeper.fixture.logBytesMax = 4096
    try keeper.start()
    try keeper.eventually("the last line") { keeper.log("api").contains("done") }
    let names = try Files.names(in: keeper.fixture.state + "/logs").filter { $0.hasPrefix("api") }.sorted()
    #expect(names == ["api.log", "api.log.1", "api.log.2"])
    for name in names { #expect(try Files.bytes(keeper.fixture.state + "/logs/" + name).count <= 4096) }
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }

  @Test("a reader of our output that does not read holds nobody up")
  func slowReader() throws {
    let keeper = try KeeperHarness([
      .shell(
        "api",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i of many that nobody reads; done; exec sleep 1000")
    ])
    let (read, write) = try Descriptor.pipe()
    try keeper.start(out: write)
    try keeper.eventually("the log has all lines") { keeper.log("api").contains("line 20000 ") }
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    withExtendedLifetime(read) {}
  }

  @Test("children that the calling script had before are left alone")
  func foreign() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    try keeper.start(by: "sleep 1000 & echo $! > \(keeper.folder)/foreign; exec \"$@\"")
    try keeper.event("ready api-1")
    let pid = try #require(Int32(keeper.text("foreign").dropLast()))
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(ProcessTable.entry(of: pid)?.name == "sleep")
    Children.send(.kill, to: pid)
  }

  @Test("a paused program still ends by TERM")
  func paused() throws {
    let keeper = try KeeperHarness([.shell("api", Self.idle)])
    keeper.fixture.services[0].stopGrace = .seconds(600)
    try keeper.start()
    let pid = try keeper.started("api-1")
    Children.send(.pause, to: pid)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
  }
}
