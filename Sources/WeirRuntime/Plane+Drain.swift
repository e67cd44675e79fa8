// SPDX-License-Identifier: Apache-2.0
import WeirModel
import WeirPatterns
import WeirProxy

/// What came of taking an instance out of use, or back.
package struct DrainOutcome: Sendable, Codable, Equatable {
  package var isDone: Bool
  /// What is so now, or why it was refused.
  package var text: String
}

/// An instance is taken out of use by hand: it finishes what it has and gets nobody new.
extension Plane {
  /// Whom a question came from, and what it was.
  struct DrainOrder: Sendable {
    var service: String
    /// As in its name: `api-2` is 2.
    var instance: Int
    var isOn: Bool
    var asker: CheckedContinuation<DrainOutcome, Never>
  }

  func drain(_ order: DrainOrder) async {
    let name = "\(order.service)-\(order.instance)"
    func answer(_ isDone: Bool, _ text: String) { order.asker.resume(returning: .init(isDone: isDone, text: text)) }
    guard let service = plan.services.firstIndex(where: { $0.name == order.service && !$0.isStore }) else {
      return answer(false, "there is no service '\(order.service)'")
    }
    guard states[service].indices.contains(order.instance - 1) else {
      let count = states[service].count
      return answer(false, "'\(order.service)' has \(count) instance\(count == 1 ? "" : "s"), counted from 1")
    }
    guard let server, await server.drain(service: service, instance: order.instance - 1, order.isOn) else {
      return answer(false, "\(name) is the last one that serves: nobody would be left")
    }
    if states[service].indices.contains(order.instance - 1) {
      states[service][order.instance - 1].isDrained = order.isOn
    }
    let text = order.isOn ? "\(name) is taken out of use: it gets nobody new" : "\(name) is in use again"
    journal.say(text)
    answer(true, text)
  }
}
