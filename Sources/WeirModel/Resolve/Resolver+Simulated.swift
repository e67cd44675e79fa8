// SPDX-License-Identifier: Apache-2.0

/// What the simulator cannot play of a file.
extension Resolver {
  /// Of programs that fetch messages nothing is said: neither how many there are nor how long they take.
  mutating func refuseForSimulate(_ queues: [MessageQueue]) {
    for queue in queues where queue.to == nil {
      let name = queue.name.text
      refuse(
        .simulate, "programs fetch from '\(name)', and nothing says how many they are: simulate plays queues with 'to'",
        at: queue.name.place, mend: "\(name): { to: POST my-worker/\(name) }")
    }
  }

  /// `fail: emails`: a share of the messages that a queue accepts cannot be worked on, however often it is tried.
  mutating func poisoned(_ name: Value<String>) -> Component? {
    guard case .queue(let index)? = componentNamed(name.value) else { return nil }
    return .queue(index)
  }
}
