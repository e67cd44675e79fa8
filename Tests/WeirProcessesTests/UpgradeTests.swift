// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestPrograms
import Testing
import WeirBase
import WeirPlatform
import WeirProcesses

/// Another binary takes over, with real processes: the keeper becomes it, and nothing else notices.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct UpgradeTests {
  /// A program that says which start of it this is, and counts on.
  static let counting = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done"

  private func harness(_ services: [Fixture.Service]) throws -> KeeperHarness {
    let keeper = try KeeperHarness(services)
    keeper.fixture.upgradeFile = keeper.folder + "/upgrade"
    keeper.fixture.listen = [ListenSpec(name: "gateway", address: "127.0.0.1", port: 0, count: 2)]
    return keeper
  }

  /// The same program under another name, which the process table shows.
  private func binary(_ keeper: KeeperHarness, _ name: String) throws -> String {
    let path = keeper.folder + "/" + name
    try TestProgram.install(Files.bytes(KeeperHarness.executable), at: path)
    return path
  }

  private func executable(_ pid: Int32) -> String { Files.linkTarget("/proc/\(pid)/exe") ?? "" }

  private func upgrade(_ keeper: KeeperHarness, to binary: String) throws {
    // Moved into place: the plane must not read half of it.
    try Files.replace(keeper.folder + "/upgrade", with: Array(binary.utf8))
  }

  @Test("keeper and plane are another binary, time and again; programs, their output and the sockets stay")
  func upgrades() throws {
    let keeper = try harness([
      .shell("api", Self.counting, instances: 2), .shell("web", "exec sleep 1000", needs: ["api"]),
    ])
    try keeper.start()
    try keeper.event("ready web-1")
    let programs = try [keeper.started("api-1"), keeper.started("api-2"), keeper.started("web-1")]
    let names = try [binary(keeper, "weir-a"), binary(keeper, "weir-b")]
    for round in 1...5 {
      let name = names[round % 2]
      try upgrade(keeper, to: name)
      try keeper.event("retire for", count: round)
      try keeper.event("retired", count: round)
      let line = "the keeper goes on as \(name)"
      try keeper.eventually("the keeper is the other binary") {
        keeper.out.components(separatedBy: line).count - 1 == (round + 1) / 2
      }
      #expect(executable(keeper.pid) == name)
    }
    let ids = "api-1:\(programs[0]),api-2:\(programs[1]),web-1:\(programs[2])"
    #expect(keeper.events.count { $0 == "adopted 1 \(ids)" } == 5)
    #expect(keeper.events.count { $0.hasPrefix("started") } == 3, "nothing was started anew")
    #expect(keeper.events.count { $0.hasPrefix("opened gateway") } == 6)
    // Not a line is lost, none comes twice.
    let seen = keeper.log("api").split(separator: "\n").filter { $0.contains("api-1 |") }
      .compactMap { $0.split(separator: " ").last.flatMap { Int($0) } }
    #expect(seen == Array(1...seen.count))
    let before = seen.count
    try keeper.eventually("its output is still taken") {
      keeper.log("api").split(separator: "\n").count { $0.contains("api-1 |") } > before + 5
    }

    // A program that dies is noticed by the keeper and the plane of now.
    Children.send(.kill, to: programs[0])
    #expect(try keeper.started("api-1", count: 2) != programs[0])
    try keeper.event("exited api-1 SIGKILL")
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test(
    "what cannot take over changes nothing",
    arguments: [
      ("missing", "does not exist"), ("text", "neither a program"), ("ends", "exit code 7"), ("crashes", "SIGSEGV"),
    ])
  func refused(what: String, reason: String) throws {
    let keeper = try harness([.shell("api", "exec sleep 1000")])
    try keeper.start()
    try keeper.event("ready api-1")
    let path = keeper.folder + "/" + what
    switch what {
    case "text": try TestProgram.install(Array("no program".utf8), at: path)
    case "ends": try TestProgram.install(Array("#!/bin/sh\nexit 7\n".utf8), at: path)
    case "crashes": try TestProgram.install(Array("#!/bin/sh\nkill -SEGV $$\n".utf8), at: path)
    default: break
    }
    for round in 1...2 {
      try upgrade(keeper, to: path)
      #expect(try keeper.event("refused", count: round).contains(reason))
    }
    #expect(keeper.out.contains("upgrade refused, everything goes on as it was"))
    #expect(executable(keeper.pid) == KeeperHarness.executable)
    #expect(!keeper.events.contains { $0.hasPrefix("retire") || $0.hasPrefix("exited") })
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("the plane of after an upgrade that is killed is started again from the new binary")
  func crashAfterwards() throws {
    let keeper = try harness([.shell("api", "exec sleep 1000")])
    try keeper.start()
    let program = try keeper.started("api-1")
    try keeper.event("ready api-1")
    let name = try binary(keeper, "weir-a")
    try upgrade(keeper, to: name)
    let words = try keeper.event("retire for").split(separator: " ")
    let plane = try #require(Int32(words[2]))
    try keeper.eventually("the keeper is the other binary") { executable(keeper.pid) == name }
    #expect(executable(plane) == name)
    Children.send(.kill, to: plane)
    try keeper.event("adopted 2 api-1:\(program)")
    #expect(ProcessTable.entry(of: program) != nil)
    keeper.send(.interrupt)
    #expect(try keeper.wait() == .code(0))
    #expect(keeper.living.isEmpty)
  }

  @Test("kill -9 of a keeper that has become another binary leaves nothing")
  func killedAfterwards() throws {
    let keeper = try harness([.shell("stubborn", "trap '' TERM; echo up; while :; do sleep 0.05; done")])
    try keeper.start()
    try keeper.event("ready stubborn-1")
    try keeper.eventually("it is up") { keeper.log("stubborn").contains("up") }
    let name = try binary(keeper, "weir-a")
    try upgrade(keeper, to: name)
    try keeper.eventually("the keeper is the other binary") { executable(keeper.pid) == name }
    try keeper.event("retired")
    keeper.kill()
    try keeper.eventually("nothing is left") { keeper.living.isEmpty }
  }
}
