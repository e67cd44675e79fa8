// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing

extension SystemTests {
  /// `weir upgrade` (DP-4).
  @Suite struct UpgradeTests {
    private struct Outcome: Decodable {
      struct Side: Decodable { var pid: Int32, version: String, binary: String }
      var result: String
      var from: Side
      var to: Side?
      var errors: [String]
    }

    private func upgrade(_ field: Field, to binary: String) async throws -> (code: Int32, outcome: Outcome) {
      let result = try await field.verb([
        "upgrade", field.file, "--state", field.state, "--to", binary, "--format", "json",
      ])
      guard let outcome = try? JSONDecoder().decode(Outcome.self, from: Data(result.out.utf8)) else {
        throw Mistake("weir upgrade: \(result.code) \(result.out)\(result.err)")
      }
      return (result.code, outcome)
    }

    private func executable(_ pid: Int32) -> String {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) ?? ""
    }

    /// The same binary at another place.
    private func copy(_ field: Field) throws -> String {
      let path = field.folder + "/weir-next"
      do { try FileManager.default.linkItem(atPath: Program.bin + "/weir", toPath: path) } catch {
        // Another file system; by `cp`, for nothing can be run that a child of this process may have open for writing.
        guard try TestProgram("cp", [Program.bin + "/weir", path]).wait() == 0 else { throw Mistake("cp to \(path)") }
      }
      return path
    }

    @Test func fiveUpgradesInARowUnderLoadLoseNothing() async throws {
      try await Field.with { field in
        // Slow instances on a busy machine are not what is looked at.
        let ordering =
          "    ordering: { path: /api/notes, methods: [POST], to: api, timeout: 30s, idempotency: { keep: 1h } }"
        try field.writeExample {
          $0.replacingOccurrences(of: "  routes:\n", with: "  routes:\n\(ordering)\n")
            .replacingOccurrences(of: "to: api, limit", with: "to: api, timeout: 30s, limit")
        }
        let run = try await field.runReady(["--drain", "20"])
        let before = try await field.status()
        let admin = before.admin
        let next = try copy(field)
        let port = field.port
        let load = (0..<4).map { index in KeptClient(port: port, writes: index == 0) }
        // One that lasts through the first upgrade and longer.
        for api in ["api-1", "api-2", "api-3"] { try await field.fault(api, #"{"slow":"1500ms"}"#) }
        let long = try await offPool { try Talk(port: port, "/api/notes") }
        // It is on its way when another one, sent after it, has been.
        let second = try await offPool { try Talk(port: port, "/api/notes") }
        try await eventually("both are at an instance") {
          try await field.status().calls.first { $0.callee == "api" }.map { $0.calls > 0 } ?? false
        }

        var planes: [Int32] = []
        for round in 1...5 {
          let (code, outcome) = try await upgrade(field, to: round % 2 == 1 ? next : Program.bin + "/weir")
          #expect(code == 0 && outcome.result == "upgraded", "\(outcome)")
          let to = try #require(outcome.to)
          planes.append(to.pid)
          if round % 2 == 1 { #expect(to.binary == next) }
          let status = try await field.status()
          #expect(status.plane?.pid == to.pid && outcome.from.pid != to.pid)
          if round == 1 {
            // Without the slowness that it began with.
            for api in ["api-1", "api-2", "api-3"] { try await field.fault(api, "{}") }
          }
          // Until each has asked the one of now.
          let counts = load.map(\.count)
          try await eventually("everybody has asked again") {
            zip(load, counts).allSatisfy { $0.count > $1 + 10 || $0.failure != nil }
          }
        }
        #expect(Set(planes).count == 5)
        let replies = try await offPool { try [long.reply(), second.reply()] }
        #expect(replies.allSatisfy { $0.status == 200 })
        for client in load { client.stop() }
        for client in load { try await eventually("the load ends") { client.isOver } }
        let count = load.reduce(0) { $0 + $1.count }
        let failures = load.compactMap(\.failure)
        let closes = load.reduce(0) { $0 + $1.closes }
        Claims.holds(
          failures.isEmpty && count > 0, "five upgrades in a row under load lose no request",
          "\(count) requests on kept connections, \(failures.count) failed \(failures), \(closes) ends announced")

        let after = try await field.status()
        #expect(after.pids == before.pids, "no program was touched")
        #expect(after.services.flatMap(\.instances).allSatisfy { $0.restarts == 0 })
        #expect(after.state?.restarts == 5)
        try await eventually("the admin port is the same") { try await field.status().admin == admin }
        try await eventually("the keeper is the new binary, in the same process") { executable(run.pid) == next }
        try await eventually("planes of before end") { try await field.status().elders?.isEmpty == true }
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after upgrades")
      }
    }

    @Test func whatCannotTakeOverIsRefused() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady()
        let plane = try #require(try await field.status().plane?.pid)
        let fake = field.folder + "/fake"
        try Data("#!/bin/sh\nexit 9\n".utf8).write(to: URL(fileURLWithPath: fake))
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: fake)
        for (binary, reason) in [(fake, "exit code 9"), (field.folder + "/nowhere", "does not exist")] {
          let (code, outcome) = try await upgrade(field, to: binary)
          #expect(code == 1 && outcome.result == "refused")
          #expect(outcome.errors.first?.contains(reason) == true, "\(outcome)")
        }
        // As an older version that does not know a key of the file.
        let running = field.state + "/running.json"
        let text = Program.read(running)
        try Data(text.replacingOccurrences(of: "owner: platform-team", with: "ownre: platform-team").utf8).write(
          to: URL(fileURLWithPath: running))
        let (code, outcome) = try await upgrade(field, to: Program.bin + "/weir")
        #expect(code == 1)
        #expect(outcome.errors.first?.contains("cannot use the running file: \(field.file):9:1") == true, "\(outcome)")
        #expect(try await field.ask("/api/notes").status == 200)
        #expect(try await field.status().plane?.pid == plane)
        #expect(run.out.contains("upgrade refused, everything goes on as it was"))
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after refused upgrades")
      }
    }
  }
}

/// Asks without a pause on one connection, until it is told that it ends; then on the next.
private final class KeptClient: @unchecked Sendable {
  // Unchecked: the lock orders all accesses.
  private struct State {
    var count = 0
    var closes = 0
    var failure: String?
    var isStopped = false
    var isOver = false
  }
  private let lock = NSLock()
  private var state = State()

  var count: Int { lock.withLock { state.count } }
  var closes: Int { lock.withLock { state.closes } }
  var failure: String? { lock.withLock { state.failure } }
  var isOver: Bool { lock.withLock { state.isOver } }
  func stop() { lock.withLock { state.isStopped = true } }

  init(port: Int, writes: Bool) {
    Thread.detachNewThread { [self] in
      while !lock.withLock({ state.isStopped || state.failure != nil }) {
        let descriptor = Socket.make()
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard Socket.connect(descriptor, port: port) else {
          lock.withLock { state.failure = "no connection: \(String(cString: strerror(errno)))" }
          break
        }
        while !lock.withLock({ state.isStopped || state.failure != nil }) {
          guard ask(descriptor, port: port, writes: writes) else { break }
        }
      }
      lock.withLock { state.isOver = true }
    }
  }

  /// False when the connection is at its end, as announced, or something failed.
  private func ask(_ descriptor: Int32, port: Int, writes: Bool) -> Bool {
    var head = "\(writes ? "POST" : "GET") /api/notes HTTP/1.1\r\nHost: localhost:\(port)\r\n"
    let body = #"{"text":"kept"}"#
    if writes {
      head += "Idempotency-Key: \(UUID().uuidString)\r\nContent-Type: application/json\r\n"
      head += "Content-Length: \(body.utf8.count)\r\n"
    }
    let bytes = Array((head + "\r\n" + (writes ? body : "")).utf8)
    guard bytes.withUnsafeBytes({ send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == bytes.count
    else { return fail("not sent: \(String(cString: strerror(errno)))") }
    var all = Data()
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      if let end = all.range(of: Data("\r\n\r\n".utf8)) {
        let text = String(decoding: all[..<end.lowerBound], as: UTF8.self).lowercased()
        let isWhole =
          text.contains("transfer-encoding: chunked")
          ? all.suffix(5) == Data("0\r\n\r\n".utf8) : all.count - end.upperBound == KeptClient.length(text)
        if isWhole {
          guard text.hasPrefix("http/1.1 \(writes ? 201 : 200)") else {
            return fail(String(decoding: all.prefix(400), as: UTF8.self))
          }
          let closes = text.contains("\r\nconnection: close")
          lock.withLock {
            state.count += 1
            if closes { state.closes += 1 }
          }
          return !closes
        }
      }
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else {
        return fail("after \(all.count) bytes: \(count == 0 ? "closed" : String(cString: strerror(errno)))")
      }
      all += buffer[..<count]
    }
  }

  private static func length(_ head: String) -> Int {
    head.components(separatedBy: "content-length: ").dropFirst().first.flatMap {
      Int($0.prefix { $0.isNumber })
    } ?? 0
  }

  private func fail(_ why: String) -> Bool {
    lock.withLock { state.failure = why }
    return false
  }
}
