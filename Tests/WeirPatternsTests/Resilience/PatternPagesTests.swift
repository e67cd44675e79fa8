// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirPatterns

/// The settings tables of the pattern pages against the settings themselves, so that a changed default changes its page.
struct PatternPagesTests {
  private func page(_ name: String) throws -> String {
    // Tests/WeirPatternsTests/Resilience/<this file>: the repository is four levels up.
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    return try String(contentsOf: root.appending(path: "docs/patterns/\(name).md"), encoding: .utf8)
  }

  /// A value as the pages write it.
  private func spoken(_ value: Any) -> String {
    switch value {
    case let duration as Duration:
      let (seconds, attoseconds) = duration.components
      return attoseconds == 0 ? "\(seconds) s" : "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000) ms"
    case let yes as Bool: return yes ? "yes" : "no"
    case let codes as [UInt8]: return codes.map(String.init).joined(separator: ", ")
    case let statuses as [UInt16]: return statuses.map(String.init).joined(separator: ", ")
    case CircuitBreaker.Settings.Window.time(let length): return "time(\(spoken(length)))"
    default:
      let mirror = Mirror(reflecting: value)
      if mirror.displayStyle == .optional { return mirror.children.first.map { spoken($0.value) } ?? "none" }
      return "\(value)"
    }
  }

  @Test("each default on a page is the code's, and none is missing or too many")
  func defaults() throws {
    let pages: [(String, Any)] = [
      ("circuit-breaker", CircuitBreaker.Settings()), ("backoff", Backoff.Settings()),
      ("retry-rule", RetryRule.Settings()),
      ("retry-budget", RetryBudget.Settings()), ("deadline", Deadline.Settings()),
      ("outlier-ejection", OutlierEjection.Settings()), ("health-monitor", HealthMonitor.Settings()),
      ("restart-backoff", RestartBackoff.Settings()), ("hedge-trigger", HedgeTrigger.Settings()),
      ("client-throttle", ClientThrottle.Settings()), ("grpc-retry", GRPCRetry.Settings()),
      ("idempotency-record", IdempotencyRecord.Settings()),
      ("discovered-instances", DiscoveredInstances.Settings()),
      ("cron-schedule", CronSchedule.Settings()), ("saga", Saga.Settings()),
      ("projection-checkpoint", ProjectionCheckpoint.Settings()), ("lease", Lease.Settings()),
      ("webhook-schedule", WebhookSchedule.Settings()), ("webhook-endpoint", WebhookEndpoint.Settings()),
    ]
    for (name, settings) in pages {
      let text = try page(name)
      let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }
      let children = Mirror(reflecting: settings).children
      for child in children {
        let label = child.label ?? ""
        let row = "| `\(label)` | \(spoken(child.value)) |"
        #expect(rows.contains { $0.hasPrefix(row) }, "\(name).md has no row «\(row)»")
      }
      #expect(rows.count == children.count, "\(name).md")
    }
  }
}
