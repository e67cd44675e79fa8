// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Foundation
import Testing

/// What a test could not find out; ends the test.
struct Mistake: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// How long a condition may take to come true: far above what is expected, for these tests share two cores with others.
let patience = Duration.seconds(30)

/// Waits until the condition holds, and looks every 20 ms; beyond the limit the test ends with `what`.
func eventually(
  _ what: @autoclosure () -> String, within limit: Duration = patience,
  sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () async throws -> Bool
) async throws {
  let end = ContinuousClock.now + limit
  while try await !condition() {
    if ContinuousClock.now > end {
      Issue.record("not within \(limit): \(what())", sourceLocation: sourceLocation)
      throw Mistake(what())
    }
    await nextLook()
  }
}

/// The rhythm of `eventually`, without a thread that waits.
private func nextLook() async {
  await withCheckedContinuation { continuation in
    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(20)) { continuation.resume() }
  }
}

/// Runs what blocks on a thread of its own, so that the pool of Swift's tasks keeps its two.
func offPool<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Result { try work() }) }
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

func text(_ seconds: Duration) -> String { String(format: "%.2f s", seconds.inSeconds) }
