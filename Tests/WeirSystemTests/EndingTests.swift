// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// How a run ends, and what survives when a part of it is killed.
  @Suite struct EndingTests {
    @Test func ctrlCLetsRequestsFinishAndLeavesNothing() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady()
        for instance in 1...3 { try await field.fault("api-\(instance)", #"{"slow":"1500ms"}"#) }
        let ports = try await field.status().services.flatMap(\.instances).filter { $0.pid != nil }.map(\.port)
        let port = field.port
        let inFlight = try await offPool { try (0..<8).map { _ in try Talk(port: port, "/api/notes") } }
        struct Inside: Decodable { var inside: Int }
        try await eventually("all eight are inside") {
          var inside = 0
          for instance in 1...3 {
            let at = try await field.status().instance("api-\(instance)").port
            let state = try await field.ask("/state", port: at, fields: ["x-fault-token": Field.faultToken])
            inside += try JSONDecoder().decode(Inside.self, from: state.body).inside
          }
          return inside >= 8
        }
        let began = ContinuousClock.now
        run.ctrlC()
        let replies = try await offPool { try inFlight.map { try $0.reply().status } }
        let code = try await run.end()
        let took = ContinuousClock.now - began
        Claims.holds(replies == Array(repeating: 200, count: 8), "Ctrl-C: requests in flight finish", "\(replies)")
        Claims.holds(code == 0, "Ctrl-C: exit code 0", "\(code) after \(text(took))")
        let left = Machine.processes(marked: field.folder)
        let taken = (ports + [field.port]).filter { !Machine.isFree($0) }
        Claims.holds(
          left.isEmpty && taken.isEmpty, "Ctrl-C: nothing is left", "processes \(left), ports taken \(taken)")
      }
    }

    // Programs and sockets outlive the plane; the next plane adopts them.
    @Test func aKilledPlaneIsBackAndNothingElseNotices() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady()
        #expect(try await field.ask("/api/notes", "POST", body: #"{"text":"before"}"#).status == 201)
        let before = try await field.status().pids
        var worst = Duration.zero
        var waited = 0
        for round in 1...3 {
          let plane = try field.planePid()
          let began = ContinuousClock.now
          kill(plane, SIGKILL)
          // Sent while nobody serves: they wait in the socket that the keeper holds.
          let port = field.port
          let statuses = try await offPool {
            try (0..<10).map { _ in try Talk(port: port, "/api/notes") }.map { try $0.reply().status }
          }
          worst = max(worst, ContinuousClock.now - began)
          waited += statuses.count { $0 == 200 }
          #expect(statuses == Array(repeating: 200, count: 10), "round \(round): \(statuses)")
          try await eventually("the next plane is in the record") {
            (try? field.planePid()).map { $0 != plane } ?? false
          }
          // Ten seconds of life would end the back-off's row; three kills in a row stay below its longest rest.
          try await eventually("the plane serves its status again") { (try? await field.status()) != nil }
        }
        let after = try await field.status()
        Claims.holds(
          after.pids == before, "kill -9 of the plane: programs keep their process ids", "\(before.count) programs")
        Claims.holds(waited == 30, "kill -9 of the plane: requests sent meanwhile are served after", "\(waited) of 30")
        Claims.holds(
          worst < .seconds(10), "kill -9 of the plane: serving again (goal: within a second)",
          "slowest of 3 rounds \(text(worst)) from the kill to the tenth answer")
        #expect(after.services.flatMap(\.instances).allSatisfy { $0.restarts == 0 })
        #expect(run.isRunning)
        run.ctrlC()
        #expect(try await run.end() == 0)
        field.expectClear("after the plane was killed")
      }
    }

    @Test func aKilledKeeperLeavesACleanField() async throws {
      try await Field.with { field in
        try field.writeExample()
        let run = try await field.runReady()
        let began = ContinuousClock.now
        run.signal(SIGKILL)
        #expect(try await run.end() == -SIGKILL)
        try await eventually("everything ends: \(Machine.processes(marked: field.folder))") {
          Machine.processes(marked: field.folder).isEmpty
        }
        let took = ContinuousClock.now - began
        Claims.holds(took < .seconds(15), "kill -9 of the keeper: everything ends within seconds", text(took))
        field.expectClear("after the keeper was killed")
        let next = try await field.runReady()
        let answer = try await field.ask("/api/notes")
        Claims.holds(
          answer.status == 200, "kill -9 of the keeper: the next run finds a clean field",
          "GET /api/notes: \(answer.status)")
        next.ctrlC()
        #expect(try await next.end() == 0)
        field.expectClear("after the second run")
      }
    }

    // A program that ignores TERM gets its grace of ten seconds, then KILL.
    @Test func aProgramThatIgnoresTermIsKilledAfterItsGrace() async throws {
      try await Field.with { field in
        try field.write(
          WrongUseTests.oneService(
            field, run: #"sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 1; done'"#, health: nil))
        let run = try field.run()
        try await eventually("the program runs") { run.out.contains("| deaf") }
        let began = ContinuousClock.now
        run.ctrlC()
        let code = try await run.end(within: .seconds(60))
        let took = ContinuousClock.now - began
        field.expectClear("after a program that ignores TERM")
        Claims.holds(
          code == 0 && took >= .seconds(9), "Ctrl-C: a program that ignores TERM is killed after its grace",
          "exit code \(code) after \(text(took))")
      }
    }

    // The second Ctrl-C hurries.
    @Test func ctrlCTwiceDoesNotWait() async throws {
      try await Field.with { field in
        try field.write(
          WrongUseTests.oneService(
            field, run: #"sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 1; done'"#, health: nil))
        let run = try field.run()
        try await eventually("the program runs") { run.out.contains("| deaf") }
        let began = ContinuousClock.now
        run.ctrlC()
        try await eventually("half a second is over") { ContinuousClock.now - began > .milliseconds(600) }
        run.ctrlC()
        let code = try await run.end()
        let took = ContinuousClock.now - began
        field.expectClear("after Ctrl-C twice")
        Claims.holds(took < .seconds(8), "Ctrl-C twice: the grace is cut", "exit code \(code) after \(text(took))")
      }
    }
  }
}
