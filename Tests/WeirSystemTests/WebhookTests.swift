// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing

/// The reference library, from Python's package index (`Tests/requirements.txt`).
private enum StandardWebhooks {
  static var isThere: Bool { (try? TestProgram("python3", ["-c", "import standardwebhooks"]))?.wait() == 0 }
}

extension SystemTests {
  /// Webhooks under `weir run`, to partners that verify them with the reference library.
  @Suite(.enabled(if: ProcessInfo.processInfo.environment["CI"] != nil || StandardWebhooks.isThere))
  struct WebhookTests {
    private static func file(_ field: Field) -> String {
      """
      weir: 1
      system: shop
      gateway: { listen: \(field.port), routes: { all: { path: /**, to: shop } } }
      services:
        shop: { run: python3 \(Program.root)/Tests/Queue/listener.py, health: /healthz, at-once: 16, sends: [events] }
      topics:
        events: { key: order }
      webhooks:
        partners: { of: events, allow: [127.0.0.0/8], timeout: 5s }
      """
    }

    /// A partner's server, and its endpoint.
    private struct Partner: Sendable {
      let field: Field
      let id: String
      let program: Program
      var folder: String { "\(field.folder)/\(id)" }

      init(_ field: Field, _ id: String) throws {
        self.field = field
        self.id = id
        try FileManager.default.createDirectory(
          atPath: "\(field.folder)/\(id)", withIntermediateDirectories: true)
        program = try Program(
          "/usr/bin/env", ["python3", Program.root + "/Tests/Messaging/webhooks.py", "take", "\(field.folder)/\(id)"],
          in: field.folder)
      }

      func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"), options: .atomic)
      }

      /// Ids and bodies, in the order in which they came.
      var taken: [(id: String, body: String)] {
        Program.read(folder + "/taken").split(separator: "\n").map {
          let parts = $0.split(separator: " ", maxSplits: 1)
          return (String(parts[0]), String(parts.last ?? ""))
        }
      }
      var tried: Int { Program.read(folder + "/tried").split(separator: "\n").count }
      var refused: String { Program.read(folder + "/refused") }

      func url() async throws -> String {
        try await eventually("the partner listens: \(program.err)") { !Program.read(folder + "/port").isEmpty }
        return "http://127.0.0.1:\(Program.read(folder + "/port"))/hook"
      }

      /// Registers its endpoint, and knows its secret from then on.
      func register(_ more: [String] = []) async throws {
        let url = try await url()
        let made = try await WebhookTests.verb(field, ["add", "partners", url, "--id", id] + more)
        try write("secrets", try WebhookTests.secret(made))
      }
    }

    private static func verb(_ field: Field, _ words: [String], code: Int32 = 0) async throws -> String {
      let result = try await field.verb(["webhook"] + words + ["--file", field.file, "--state", field.state])
      guard result.code == code else { throw Mistake("weir webhook \(words): \(result.out) \(result.err)") }
      return result.out + result.err
    }

    private static func secret(_ json: String) throws -> String {
      struct Made: Decodable { var secret: String }
      return try JSONDecoder().decode(Made.self, from: Data(json.utf8)).secret
    }

    private struct Endpoint: Decodable {
      var endpoint: String
      var disabled: String?
      var delivered: Int
      var waiting: Int
    }

    private func endpoint(_ field: Field, _ id: String) async throws -> Endpoint? {
      let json = try await Self.verb(field, ["list", "--format", "json"])
      return try JSONDecoder().decode([Endpoint].self, from: Data(json.utf8)).first { $0.endpoint == id }
    }

    private func publish(_ field: Field, _ numbers: ClosedRange<Int>) async throws {
      for n in numbers {
        try await eventually("event \(n) is published") {
          let reply = try? await field.ask(
            "/pass/EVENTS_URL", "POST", fields: ["Content-Type": "application/json"],
            body: #"{"order":"o-\#(n % 3)","n":\#(n)}"#)
          return reply?.status == 202
        }
      }
    }

    private static func number(_ body: String) -> Int {
      struct Body: Decodable { var n: Int }
      return (try? JSONDecoder().decode(Body.self, from: Data(body.utf8)).n) ?? -1
    }

    /// The first delivery of each event, by key, in the order in which they came.
    private static func expectOrder(_ taken: [(id: String, body: String)]) {
      var seen: Set<String> = []
      let firsts = taken.filter { seen.insert($0.id).inserted }.map { number($0.body) }
      for key in 0..<3 {
        let ofKey = firsts.filter { $0 % 3 == key }
        #expect(ofKey == ofKey.sorted(), "key \(key)")
      }
    }

    @Test(
      "partners get all events, signed and in order; one that is down holds up nobody and gets them later; 410 ends it")
    func partners() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 1)
        let good = try Partner(field, "good")
        let weak = try Partner(field, "weak")
        try await good.register()
        try await weak.register()
        try await deliver(field, good, weak)
        try await rotate(field, good, weak)
        try await replay(field, good, weak)
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }

    private func deliver(_ field: Field, _ good: Partner, _ weak: Partner) async throws {
      try weak.write("status", "503")
      try await publish(field, 1...3)
      try await eventually("the weak partner has refused one", within: .seconds(60)) { weak.tried > 0 }
      // Back again, before the first wait of the schedule is over (5 s); on a machine that stands still after the second.
      try weak.write("status", "204")
      try await publish(field, 4...12)
      try await eventually("the good partner has all: \(good.refused)", within: .seconds(60)) {
        good.taken.count >= 12
      }
      Self.expectOrder(good.taken)
      #expect(Set(good.taken.map { Self.number($0.body) }) == Set(1...12))
      #expect(good.refused.isEmpty)

      try await eventually("the weak partner gets them all: \(weak.refused)", within: .seconds(480)) {
        Set(weak.taken.map(\.id)).count == 12
      }
      Self.expectOrder(weak.taken)
      #expect(weak.refused.isEmpty && Set(weak.taken.map(\.id)) == Set(good.taken.map(\.id)))
    }

    private func rotate(_ field: Field, _ good: Partner, _ weak: Partner) async throws {
      // Rotated: the new secret holds, and the old one as well.
      let old = Program.read(good.folder + "/secrets")
      let new = try Self.secret(try await Self.verb(field, ["rotate", "partners", "good"]))
      #expect(new != old)
      let shown = try await Self.verb(field, ["show", "partners", "good"])
      #expect(!shown.contains(new) && !shown.contains(old) && shown.contains("signs-along"))
      try good.write("secrets", new)
      try weak.write("status", "410")
      try await publish(field, 13...13)
      // Who delivers looks at its endpoints each second: a first attempt may be signed by the old one alone.
      try await eventually("the new secret holds", within: .seconds(120)) { good.taken.count >= 13 }
      let refused = good.refused
      try good.write("secrets", old + "\n" + new)
      try await publish(field, 14...14)
      try await eventually("both hold: \(good.refused)", within: .seconds(60)) { good.taken.count >= 14 }
      #expect(good.refused == refused)
      try await eventually("the weak one is gone", within: .seconds(60)) {
        try await endpoint(field, "weak")?.disabled == "gone"
      }
      let tried = weak.tried
      try await publish(field, 15...16)
      try await eventually("the good partner has two more", within: .seconds(60)) { good.taken.count >= 16 }
      try await eventually("it is counted") { try await endpoint(field, "good")?.delivered == 16 }
      #expect(weak.tried == tried)
      #expect(try await field.metrics().contains(#"weir_webhook_disabled{webhook="partners",endpoint="weak"} 1"#))
    }

    private func replay(_ field: Field, _ good: Partner, _ weak: Partner) async throws {
      let refused = good.refused
      // What it has missed is replayed.
      try weak.write("status", "204")
      _ = try await Self.verb(field, ["enable", "partners", "weak"])
      _ = try await Self.verb(field, ["replay", "partners", "weak", "--from", "2020-01-01T00:00:00Z"])
      try await eventually("the weak partner has all there ever was", within: .seconds(120)) {
        Set(weak.taken.map(\.id)).count == 16
      }
      #expect(good.refused == refused && weak.refused.isEmpty)
      #expect(try await Self.verb(field, ["show", "partners", "nobody"], code: 1).contains("no endpoint"))
      _ = try await Self.verb(field, ["remove", "partners", "weak"])
      try await eventually("it is gone") { try await endpoint(field, "weak") == nil }
    }

    @Test("the plane is killed midway: nothing is lost")
    func killed() async throws {
      try await Field.with { field in
        try field.write(Self.file(field))
        let run = try await field.runReady(instances: 1)
        let partner = try Partner(field, "good")
        try await partner.register()
        for round in 0..<2 {
          try await publish(field, (round * 10 + 1)...(round * 10 + 6))
          kill(try field.planePid(), SIGKILL)
          try await publish(field, (round * 10 + 7)...(round * 10 + 10))
        }
        // What was leased by the plane that died is leased again after its time, half a minute.
        try await eventually(
          "all are there: \(partner.taken.count) \(partner.refused) \(run.err)", within: .seconds(240)
        ) {
          Set(partner.taken.map { Self.number($0.body) }) == Set(1...20)
        }
        #expect(partner.refused.isEmpty)
        run.ctrlC()
        #expect(try await run.end() == 0)
      }
    }
  }
}
