// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirPlatform

extension ProxyServer {
  /// A name has an instance here from now on: a new one, of which nothing is known.
  ///
  /// Where nobody asks how it is, it serves at once.
  package func occupy(service: Int, instance: Int, at address: InstanceAddress, isAsked: Bool) async {
    node.withFlows { $0.occupied(service: service, instance: instance, true, now: SystemClock.now()) }
    await started(service: service, instance: instance, at: address)
    if !isAsked { await setUp(true, service: service, instance: instance) }
  }

  /// The name has it no more: it gets nothing new, and keeps its address for what is under way, until another is there.
  package func vacate(service: Int, instance: Int) async {
    node.withFlows { $0.occupied(service: service, instance: instance, false, now: SystemClock.now()) }
    await unwatch(service: service, instance: instance)
    node.pokeAll(but: nil)
  }

  /// The host of an instance has another address: what was learned was about the one before it.
  ///
  /// What is under way there ends there. Where somebody asks how it is, it serves when the answer is good.
  package func moved(service: Int, instance: Int, to address: InstanceAddress, isAsked: Bool) async {
    if isAsked { await setUp(false, service: service, instance: instance) }
    await started(service: service, instance: instance, at: address)
  }

  /// Takes an instance out of use, or back; false where nobody would be left to serve.
  package func drain(service: Int, instance: Int, _ isOn: Bool) async -> Bool {
    let isDone = node.withFlows { $0.drain(service: service, instance: instance, isOn, now: SystemClock.now()) }
    node.pokeAll(but: nil)
    return isDone
  }
}
