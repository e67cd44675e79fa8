// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirModel

@Suite("design")
struct DesignTests {
  /// Every value knows whether it was written, defaulted or derived, and a written one where.
  @Test("the web application resolves, with origins")
  func webapp() throws {
    let result = read("examples/webapp/weir.yaml")
    #expect(result.diagnostics.isEmpty)
    let design = try #require(result.design)
    #expect(design.services.map(\.name.text) == ["web", "api", "search"])
    let api = design.services[1]
    #expect(api.instances.value == 3)
    #expect(api.instances.place?.path == "services.api.instances")
    #expect(
      design.services[2].instances.origin == .defaulted(rule: "service.instances (a finding where it matters)"))
    let search = try #require(api.calls.first { $0.to.value == .service(2) })
    #expect(search.attempt.value == .milliseconds(100))
    #expect(search.attempt.origin == .derived(from: "half of timeout"))
    #expect(search.fallback?.value == .answer("[]"))
    #expect(design.acceptances.first?.until?.value == Day("2027-06-30"))
    #expect(design.unsupported(for: .run).isEmpty)
    #expect(design.unsupported(for: .simulate).isEmpty)
  }

  /// CK-1: lines put above a value move its place by exactly so many, and its bytes by exactly theirs.
  @Test("places move with their text")
  func moved() throws {
    let text = try text("examples/webapp/weir.yaml")
    let shift = "\n\n\n\n\n# a comment\n"
    let before = try #require(read(text: text).design)
    let after = try #require(read(text: shift + text).design)
    let (a, b) = (before.services[1].calls[1].timeout.place, after.services[1].calls[1].timeout.place)
    #expect(b?.line == (a?.line ?? 0) + 6)
    #expect(b?.column == a?.column)
    #expect(b?.value.bytes.lowerBound == (a?.value.bytes.lowerBound ?? 0) + shift.utf8.count)
  }

  /// What stands at the thing wins over `defaults:`, which wins over Weir's own.
  @Test("defaults are layered")
  func layers() throws {
    let design = try #require(
      read(
        text: """
          weir: 1
          system: a
          defaults:
            call: { timeout: 2s, retry: { attempts: 5, backoff: { first: 7ms } }, breaker: none }
            service: { at-once: 9, health: { every: 3s } }
          gateway: { listen: 0, routes: { all: { path: /**, to: x } } }
          services:
            x: { run: x, health: /up, calls: { y: { retry: 2 }, z: { timeout: 1s, breaker: { rest: 4s } } } }
            y: { run: y, at-once: none }
            z: { run: z, instances: 2 }
          """
      ).design)
    let x = design.services[0]
    #expect(x.atOnce?.value == 9)
    #expect(x.health?.ready?.value == "/up")
    #expect(x.health?.every.value == .seconds(3))
    #expect(design.services[1].atOnce == nil)
    #expect(x.calls[0].timeout.value == .seconds(2))
    #expect(x.calls[0].retry.attempts.value == 2)
    #expect(x.calls[0].retry.first.value == .milliseconds(7))
    #expect(x.calls[0].breaker == nil)
    #expect(x.calls[1].retry.attempts.value == 5)
    #expect(x.calls[1].breaker?.rest.value == .seconds(4))
    #expect(x.calls[1].breaker?.failures.value == 0.5)
    #expect(design.gateways.first?.calls.first?.timeout.value == .seconds(2))
  }

  /// A lognormal through a median and a p99 passes through both; a lone mean gives the spread of the exponential.
  @Test("work becomes a distribution")
  func work() throws {
    func distribution(_ work: String) -> Work.Distribution? {
      read(text: "weir: 1\nsystem: a\nservices: { x: { work: \(work) } }\n").design?.services[0].work?.distribution
    }
    guard case .lognormal(let median, let sigma)? = distribution("{ median: 4ms, p99: 25ms }") else {
      Issue.record("not lognormal")
      return
    }
    #expect(median == 4e6)
    // ln(25 ÷ 4) ÷ 2.3263479 = 0.787747.
    #expect(abs(sigma - 0.787747) < 1e-5)
    #expect(distribution("{ mean: 10ms, shape: exponential }") == .exponential(mean: 1e7))
    #expect(distribution("{ median: 2ms, shape: constant }") == .constant(2e6))
    guard case .lognormal(_, let wide)? = distribution("{ mean: 10ms }") else {
      Issue.record("not lognormal")
      return
    }
    #expect(abs(wide * wide - 0.693147) < 1e-5)
    guard case .lognormal(let inner, let spread)? = distribution("{ mean: 10ms, p99: 40ms }") else {
      Issue.record("not lognormal")
      return
    }
    // The mean of e^(N(ln m, σ²)) is m·e^(σ²/2): solved back, ln(mean ÷ median) = σ²/2.
    #expect(inner < 1e7 && spread > 0)
  }

  /// `run` cannot start what has neither `run` nor `at`, and says so with the line; `simulate` can.
  @Test("a verb refuses what it cannot honour")
  func refusals() throws {
    let design = try #require(
      read(
        text: """
          weir: 1
          system: a
          services:
            x: { work: { mean: 1ms }, deploy: { surge: 1 }, calls: { d: { retry: 2 } } }
          stores:
            d: { engine: postgres, pool: { size: 5 } }
          """
      ).design)
    #expect(design.unsupported(for: .simulate).isEmpty)
    let refused = design.unsupported(for: .run)
    #expect(
      Set(refused.map(\.path)) == [
        "", "services.x", "services.x.deploy.surge", "services.x.calls.d.retry", "stores.d", "stores.d.pool.size",
      ])
    #expect(refused.allSatisfy { $0.line >= 1 && $0.severity == .error })
  }

  /// The full example is read to its end, and exactly what is not built yet is refused, each with its place.
  @Test("the full example: exactly the keys of later versions")
  func fullExample() throws {
    let result = read("examples/full/weir.yaml")
    #expect(result.diagnostics.allSatisfy { $0.id == "not-supported" })
    let found = result.diagnostics.map(\.path)
    let file = repository.appending(path: "Tests/WeirModelTests/Fixtures/full.unsupported")
    if ProcessInfo.processInfo.environment["WEIR_RECORD"] == "1" {
      try (found.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
    }
    let wanted = try text("Tests/WeirModelTests/Fixtures/full.unsupported").split(separator: "\n").map(String.init)
    #expect(found == wanted)
    #expect(result.sources.map(\.file) == ["examples/full/weir.yaml", "examples/full/scenarios/mailer-slow.yaml"])
  }

  /// Names of several files meet in one design; the second definition is told with the first.
  @Test("included files are one design")
  func includes() throws {
    let main = "weir: 1\nsystem: a\ninclude: [parts/*.yaml]\nservices: { x: { run: x, calls: { y: {} } } }\n"
    let files = ["weir.yaml": main, "parts/y.yaml": "services: { y: { run: y } }\n"]
    let good = ModelReader.read(path: "weir.yaml", files: .init(files))
    #expect(good.diagnostics.isEmpty)
    #expect(good.design?.services.map(\.name.text) == ["x", "y"])
    #expect(good.design?.services[1].name.place.file == "parts/y.yaml")
    var twice = files
    twice["parts/z.yaml"] = "stores: { x: { engine: sqlite, path: x } }\n"
    let bad = ModelReader.read(path: "weir.yaml", files: .init(twice))
    #expect(bad.diagnostics.map(\.id) == ["defined-twice"])
    #expect(bad.diagnostics.first?.file == "parts/z.yaml")
    #expect(bad.diagnostics.first?.related.first?.place.file == "weir.yaml")
    var circle = files
    circle["parts/y.yaml"] = "include: [../weir.yaml]\n"
    #expect(ModelReader.read(path: "weir.yaml", files: .init(circle)).diagnostics.map(\.id).contains("include-twice"))
  }

  /// References are kept for the run, with their places, so that a check can look for what should be one.
  @Test("texts keep their references")
  func texts() throws {
    let design = try #require(
      read(
        text: """
          weir: 1
          system: a
          services:
            x: { run: { command: "x", env: { A: $(secret:a), B: "p$(env:B)q", C: plain } } }
          """
      ).design)
    guard case .program(let program) = design.services[0].kind else {
      Issue.record("no program")
      return
    }
    #expect(program.environment[0].value.value.parts == [.secret("a")])
    #expect(program.environment[1].value.value.parts == [.literal("p"), .env("B"), .literal("q")])
    #expect(design.texts.contains { $0.value.raw == "plain" && $0.place?.path == "services.x.run.env.C" })
  }
}
