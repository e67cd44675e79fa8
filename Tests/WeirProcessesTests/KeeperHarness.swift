// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPlatform
import WeirProcesses

/// A keeper in a process of its own with the small plane of `Tests/WeirKeeperFixture`, in a folder of its own.
final class KeeperHarness {
  let folder: String
  var fixture: Fixture
  /// The keeper's process id while it runs.
  private(set) var pid: Int32 = 0

  /// How long a condition may take to come true; far above what is expected, for machines under load.
  static let patience = Duration.seconds(20)

  init(_ services: [Fixture.Service] = []) throws {
    folder = try Files.canonical(NSTemporaryDirectory()) + "/weir-\(UUID().uuidString.prefix(8))"
    try Files.makeFolder(folder)
    fixture = Fixture(state: folder + "/state", events: folder + "/events")
    fixture.services = services
  }

  deinit {
    // Whatever a failed test left.
    if pid > 0 { kill() }
    Leftovers.end(run: fixture.state, known: [], grace: .zero)
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// The fixture's executable lies beside the one that runs the tests.
  static var executable: String { Files.parent(of: Files.ownExecutable ?? "") + "/weir-keeper-fixture" }

  /// Starts the keeper; its output goes to `out` and `err` in the folder.
  ///
  /// `script` starts it as "$@", if given.
  func start(out: Descriptor? = nil, by script: String? = nil) throws {
    try Files.replace(folder + "/fixture.json", with: Array(JSONEncoder().encode(fixture)))
    let keeper = [KeeperHarness.executable, "keeper", folder + "/fixture.json"]
    var spawn = Spawn(path: KeeperHarness.executable, arguments: keeper, environment: OwnEnvironment.all())
    if let script {
      spawn.path = "/bin/sh"
      spawn.arguments = ["sh", "-c", script, "sh"] + keeper
    }
    spawn.descriptors = [
      (try Descriptor.open("/dev/null", .read), 0),
      (try out ?? Descriptor.open(folder + "/out", .append), 1),
      (try Descriptor.open(folder + "/err", .append), 2),
    ]
    pid = try spawn.start()
  }

  func send(_ signal: Signal) { Children.send(signal, to: pid) }

  /// The keeper's end.
  func wait(sourceLocation: SourceLocation = #_sourceLocation) throws -> ProcessExit {
    var result: ProcessExit?
    try eventually("the keeper ends", sourceLocation: sourceLocation) {
      if case .ended(_, let exit) = Children.reap(pid: pid) { result = exit }
      return result != nil
    }
    pid = 0
    return try #require(result)
  }

  func kill() {
    Children.send(.kill, to: pid)
    _ = Children.reap(pid: pid, waiting: true)
    pid = 0
  }

  func text(_ name: String) -> String { (try? Files.text(folder + "/" + name)) ?? "" }
  var out: String { text("out") }
  var err: String { text("err") }
  func log(_ service: String) -> String { text("state/logs/\(service).log") }
  var events: [String] { text("events").split(separator: "\n").map(String.init) }

  /// Waits for an event that begins so; the newest such event.
  @discardableResult
  func event(_ start: String, count: Int = 1, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    var found: [String] = []
    try eventually("\(count) × event '\(start)'", sourceLocation: sourceLocation) {
      found = events.filter { $0.hasPrefix(start) }
      return found.count >= count
    }
    return try #require(found.last)
  }

  /// The process id of the newest run of an instance.
  func started(_ id: String, count: Int = 1, sourceLocation: SourceLocation = #_sourceLocation) throws -> Int32 {
    let line = try event("started \(id) ", count: count, sourceLocation: sourceLocation)
    return try #require(Int32(line.split(separator: " ")[2]))
  }

  func eventually(
    _ what: String, within limit: Duration = patience, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
  ) throws {
    do {
      try WeirProcessesTests.eventually(what, within: limit, sourceLocation: sourceLocation, condition)
    } catch {
      Issue.record(
        "events:\n\(events.joined(separator: "\n"))\nout:\n\(out)\nerr:\n\(err)", sourceLocation: sourceLocation)
      throw error
    }
  }

  /// Everything of this run that lives.
  var living: [ProcessTable.Entry] { Leftovers.find(run: fixture.state, known: []) }
}

struct NotInTime: Error { var what: String }

/// Waits until the condition holds; looks every five milliseconds.
func eventually(
  _ what: String, within limit: Duration = KeeperHarness.patience, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () throws -> Bool
) throws {
  let end = SystemClock.now() + limit
  while !(try condition()) {
    if SystemClock.now() >= end {
      Issue.record("not within \(limit): \(what)", sourceLocation: sourceLocation)
      throw NotInTime(what: what)
    }
    SystemThread.pause(nanoseconds: 5_000_000)
  }
}

extension Fixture.Service {
  /// A service that is a shell script.
  static func shell(_ name: String, _ script: String, needs: [String] = [], instances: Int = 1) -> Fixture.Service {
    Fixture.Service(name: name, instances: instances, needs: needs, argv: ["sh", "-c", script])
  }
}
