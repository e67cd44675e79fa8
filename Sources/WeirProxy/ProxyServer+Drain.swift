// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirPlatform

extension ProxyServer {
  /// Takes an instance out of use, or back; false where nobody would be left to serve.
  package func drain(service: Int, instance: Int, _ isOn: Bool) async -> Bool {
    let isDone = node.withFlows { $0.drain(service: service, instance: instance, isOn, now: SystemClock.now()) }
    node.pokeAll(but: nil)
    return isDone
  }
}
