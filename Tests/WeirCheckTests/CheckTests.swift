// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirCheck
import WeirModel

/// Check on whole systems: the example, a large one, and the order of what is found.
@Suite struct CheckTests {
  private static let root = (#filePath).dropLast("/Tests/WeirCheckTests/CheckTests.swift".count)

  private func findings(_ text: String, name: String = "shop.yaml") throws -> [Finding] {
    let result = ModelReader.read(path: name, files: ModelReader.Files([name: text]))
    let design = try #require(result.design, "\(result.diagnostics.prefix(5).map(\.message))")
    return Check.run(design, today: Fixture.today)
  }

  /// CK-6: the example has one finding, which it accepts.
  @Test("the web application has no open finding")
  func webapp() throws {
    let found = try findings(Fixture.contents(of: "\(CheckTests.root)/examples/webapp/weir.yaml"))
    #expect(found.filter { !$0.isAccepted }.map(\.diagnostic.message) == [])
    #expect(found.filter(\.isAccepted).map(\.rule) == ["single-instance"])
    #expect(!found.contains { $0.fails })
  }

  /// CK-7; the figure is printed, for a test must not depend on the machine.
  @Test("a thousand services and five thousand calls", arguments: [1, 1_000_000])
  func large(rate: Int) throws {
    // Ten layers of a hundred; each service calls six of the next layer.
    var text = "weir: 1\nsystem: large\nrequirements: { availability: 99.9% }\nservices:\n"
    for index in 0..<1000 {
      let next = (index / 100 + 1) * 100
      let calls = next == 1000 ? [] : (0..<6).map { "s\(next + (index + $0 * 17) % 100): { retry: 1 }" }
      let instances = index == 950 ? 1 : 2
      text +=
        "  s\(index): { instances: \(instances), work: { mean: 1ms }, calls: { \(calls.joined(separator: ", ")) } }\n"
    }
    text += "traffic:\n  all: { to: GET s0/, rate: \(rate)/s }\n"
    let result = ModelReader.read(path: "large.yaml", files: ModelReader.Files(["large.yaml": text]))
    let design = try #require(result.design)
    let clock = ContinuousClock()
    var found: [Finding] = []
    let time = clock.measure { found = Check.run(design, today: Fixture.today) }
    let calls = design.services.reduce(0) { $0 + $1.calls.count }
    print("check: \(design.services.count) services, \(calls) calls in \(time)")
    #expect(calls == 5400)
    #expect(found.filter { $0.rule == "single-instance" }.map(\.place.path) == ["services.s950"])
    #expect(found.contains { $0.rule == "over-capacity" })
    #expect(found.allSatisfy { $0.rule == "single-instance" || $0.rule == "over-capacity" })
  }

  /// Each service calls five of those behind it: the last one gets 5^143 requests for one.
  @Test("a load that no integer holds is still told")
  func immense() throws {
    var text = "weir: 1\nsystem: immense\nrequirements: { availability: 99.9% }\nservices:\n"
    for index in 0..<1000 {
      let callees = (1...5).map { index + $0 }.filter { $0 < 1000 }
      let calls = callees.map { "s\($0): {}" }.joined(separator: ", ")
      text += "  s\(index): { instances: 2, work: { mean: 1ms }, calls: { \(calls) } }\n"
    }
    let found = try findings(text + "traffic:\n  all: { to: GET s0/, rate: 1/s }\n")
    #expect(found.contains { $0.rule == "over-capacity" && $0.place.path == "services.s999" })
    #expect(found.contains { $0.rule == "retry-amplification" && $0.place.path == "services.s998.calls.s999" })
  }

  @Test("findings stand in the order of the file, whatever rule found them")
  func order() throws {
    let found = try findings(
      """
      weir: 1
      system: shop
      services:
        b: { instances: 1, run: { command: b --port $PORT, env: { TOKEN: abc-def } }, calls: { a: { timeout: 9s } } }
        a: { instances: 1, calls: { b: { timeout: 10s } } }
      """)
    #expect(found.map(\.diagnostic.line) == found.map(\.diagnostic.line).sorted())
    #expect(
      found.map(\.rule) == ["no-requirements", "single-instance", "literal-secret", "single-instance", "call-cycle"])
  }

  @Test("findings of the main file stand first, those of included ones by name")
  func files() throws {
    let files = [
      "shop.yaml": "weir: 1\nsystem: shop\ninclude: [b.yaml, a.yaml]\n",
      "a.yaml": "services:\n  a: { calls: { b: {} } }\n", "b.yaml": "services:\n  b: { calls: { a: {} } }\n",
    ]
    let result = ModelReader.read(path: "shop.yaml", files: ModelReader.Files(files))
    let design = try #require(result.design, "\(result.diagnostics.map(\.message))")
    let found = Check.run(design, today: Fixture.today).map { "\($0.diagnostic.file) \($0.rule)" }
    #expect(
      found == [
        "shop.yaml no-requirements", "a.yaml single-instance", "a.yaml call-cycle", "b.yaml single-instance",
      ])
  }

  /// CK-4: an acceptance hides its rule at its place, and nothing else.
  @Test("an acceptance hides no other rule and no other place")
  func acceptance() throws {
    let text = """
      weir: 1
      system: shop
      requirements: { availability: 99% }
      services:
        a: { instances: 1, run: { command: a --port $PORT, env: { TOKEN: abc-def } }, calls: { ab: {} } }
        ab: { instances: 1, calls: { a: {} } }
      accept:
        - { rule: single-instance, place: services.a, because: "a trial", owner: team-shop }
      """
    let found = try findings(text)
    #expect(found.filter(\.isAccepted).map(\.place.path) == ["services.a"])
    #expect(found.first(where: \.isAccepted)?.acceptedBy?.because?.value == "a trial")
    #expect(Set(found.filter { !$0.isAccepted }.map(\.rule)) == ["literal-secret", "single-instance", "call-cycle"])
  }
}
