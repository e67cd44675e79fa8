// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirModel
import WeirSimulation

/// The incident of the phantom deductions, as `weir simulate` plays the files in `examples/incidents`.
@Suite struct PhantomTests {
  private static func forecast(_ name: String) async throws -> Forecast {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "examples/incidents/phantom-deductions")
    let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
    let plan = try MessagesTests.plan(text)
    var options = SimulationOptions()
    options.scenarios = ["glitch"]
    options.replications = 2
    let forecast = try #require(try await Simulation.run(plan, options).first)
    #expect(forecast.violation == nil)
    return forecast
  }

  @Test("as it was: 800 out of order and 400 twice, in every story")
  func asItWas() async throws {
    let forecast = try await Self.forecast("weir.yaml")
    let stock = try #require(forecast.queues.first)
    #expect(stock.outOfOrder.value == 800 && stock.doneTwice.value == 400, "\(stock)")
    #expect(forecast.outcome == .missed)
    #expect(forecast.verdicts.filter { $0.outcome == .missed }.map(\.name).count == 2, "\(forecast.verdicts)")
  }

  @Test("mended: none, and nothing lost or skipped")
  func mended() async throws {
    let forecast = try await Self.forecast("mended.yaml")
    let stock = try #require(forecast.queues.first)
    #expect(stock.outOfOrder.value == 0 && stock.doneTwice.value == 0 && stock.lost.value == 0)
    #expect(stock.dead.isEmpty && stock.skipped?.value == 0)
    #expect(stock.known?.value == 400, "\(stock.known as Any)")
    #expect(forecast.outcome == .met, "\(forecast.verdicts)")
  }
}
