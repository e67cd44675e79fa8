// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The verbs that run nothing, on the example as it is in the repository.
  @Suite struct VerbTests {
    private let example = Program.root + "/examples/webapp/weir.yaml"

    @Test(arguments: [
      ["explain", "FILE", "--format", "json"], ["schema"],
      [
        "simulate", "FILE", "--format", "json", "--duration", "20", "--replications", "2", "--scenario",
        "api-instance-dies",
      ],
      ["check", "FILE", "--format", "json"],
    ])
    func jsonIsTheSameTwice(words: [String]) async throws {
      try await Field.with { field in
        let arguments = words.map { $0 == "FILE" ? example : $0 }
        let first = try await field.verb(arguments)
        let second = try await field.verb(arguments)
        // Two short replications may leave a requirement undecided, which is 1.
        let good: [Int32] = words[0] == "simulate" ? [0, 1] : [0]
        Claims.holds(
          good.contains(first.code) && first.out == second.out && first.code == second.code,
          "weir \(words[0]): same bytes twice", "exit code \(first.code), \(first.out.utf8.count) bytes, \(first.err)")
        #expect((try? JSONSerialization.jsonObject(with: Data(first.out.utf8))) != nil, "\(first.out.prefix(200))")
      }
    }

    @Test(arguments: [["explain", "FILE"], ["check", "FILE"], ["--help"], ["--version"], ["run", "--help"]])
    func textIsThere(words: [String]) async throws {
      try await Field.with { field in
        let result = try await field.verb(words.map { $0 == "FILE" ? example : $0 })
        #expect(result.code == 0, "\(result.err)")
        #expect(!result.out.isEmpty && result.err.isEmpty)
        #expect(!result.out.contains("\u{1b}["), "no colours where nobody looks")
      }
    }

    @Test func threadsChangeNoByte() async throws {
      try await Field.with { field in
        let words = ["simulate", example, "--format", "json", "--duration", "10", "--replications", "4"]
        let one = try await field.verb(words + ["--threads", "1"])
        let three = try await field.verb(words + ["--threads", "3"])
        Claims.holds(
          one.out == three.out && !one.out.isEmpty, "weir simulate: same bytes on one thread and on three",
          "\(one.out.utf8.count) bytes")
      }
    }

    @Test(arguments: [
      (["fly"], "fly"), (["run", "--loops", "0"], "--loops is a number from 1 to 64, not 0"),
      (["run", "--admin", "70000"], "--admin is a port"), (["simulate", "--replications", "1"], "--replications"),
      (["explain", "nowhere.yaml"], "nowhere.yaml"), (["run", "nowhere.yaml"], "nowhere.yaml"),
      (["check", "nowhere.yaml"], "nowhere.yaml"), (["status", "nowhere.yaml"], "nowhere.yaml"),
      (["simulate", "FILE", "--scenario", "flood"], "api-instance-dies"), (["plane"], "settings"),
      (["plane", "{}"], "weir run"),
    ])
    func wrongUseIsToldAndEndsWith2(words: [String], says: String) async throws {
      try await Field.with { field in
        let result = try await field.verb(words.map { $0 == "FILE" ? example : $0 })
        #expect(result.code == 2, "\(words): \(result.out)\(result.err)")
        #expect(result.err.contains(says), "\(words): \(result.err)")
        #expect(result.out.isEmpty)
      }
    }

    @Test func statusOfWhatDoesNotRunSaysHowToStartIt() async throws {
      try await Field.with { field in
        try field.writeExample()
        let result = try await field.verb(["status", field.file, "--state", field.state])
        #expect(result.code == 1)
        #expect(result.err.contains("'webapp' is not running") && result.err.contains("weir run"), "\(result.err)")
      }
    }
  }
}
