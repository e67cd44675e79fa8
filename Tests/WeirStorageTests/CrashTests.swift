// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// `kill -9` of the state process at every change that a few requests make, before and after its commit.
@Suite struct CrashTests {
  static var executable: String { Files.parent(of: Files.ownExecutable ?? "") + "/weir-state-fixture" }

  /// The process, started again whenever it has died.
  private final class Kept {
    let folder: String
    private var pid: Int32 = -1

    init(_ folder: String, dyingAt number: Int, _ point: String) throws {
      self.folder = folder
      try start(number, point)
    }

    func start(_ number: Int = 0, _ point: String = "never") throws {
      if pid > 0 { _ = Children.reap(pid: pid, waiting: true) }
      let spawn = Spawn(
        path: CrashTests.executable, arguments: ["weir-state-fixture", folder, "\(number)", point],
        environment: [(name: "PATH", value: "/usr/bin:/bin")])
      pid = try spawn.start()
    }

    func end() {
      Children.send(.kill, to: pid)
      _ = Children.reap(pid: pid, waiting: true)
    }
  }

  /// Three keys are executed and completed, one is released and executed again: nine changes.
  ///
  /// The process dies at each; whoever asks repeats what was not answered, as the plane does.
  @Test("nothing that was said is forgotten, nothing is executed twice", arguments: 1...9, ["inside", "after"])
  func each(number: Int, point: String) throws {
    let scratch = try Scratch()
    let kept = try Kept(scratch.path, dyingAt: number, point)
    defer { kept.end() }
    var peer = try StatePeer(scratch.path)
    var deaths = 0
    func ask(_ request: StateRequest) throws -> StateReply {
      while true {
        do { return try peer.ask(request) } catch {
          deaths += 1
          #expect(deaths == 1, "it dies once")
          if deaths > 1 { throw error }
          try kept.start()
          peer = try StatePeer(scratch.path)
        }
      }
    }
    for key in 1...3 as ClosedRange<UInt64> {
      #expect(try ask(claim(key, by: key)) == .execute)
      #expect(try ask(.complete(key: digest(key), owner: owner(key), answer: answer("\(key)"))) == .stored)
    }
    #expect(try ask(claim(4, by: 4)) == .execute)
    #expect(try ask(.release(key: digest(4), owner: owner(4))) == .released)
    #expect(try ask(claim(4, by: 5)) == .execute)
    #expect(deaths == 1)
    for key in 1...3 as ClosedRange<UInt64> {
      #expect(try ask(claim(key, by: 50)) == .replay(answer("\(key)")))
    }
    #expect(isBusy(try ask(claim(4, by: 60))))
  }
}
