// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns

/// What all loops of this node share: breakers, ejection and health; rate limits; connections by address; places.
///
/// Thread-safe. Each part has its own lock, held for one decision: ``flows`` ten times a second by each loop and on rare
/// turns (a trip, a probe), ``rates`` once for a request whose route has a limit, ``addresses`` once a connection.
final class NodeState: Sendable {
  let flows: Mutex<NodeFlows>
  let rates: Mutex<[LimitTable]>
  let addresses: Mutex<AddressLimit>
  let places: Places
  let tunnels: OpenTunnels
  /// By loop: has it look at the node's views, and at who waits, on its own thread.
  ///
  /// Set once, before any traffic.
  private let pokes = Mutex<[@Sendable () -> Void]>([])
  /// Tells the first loop's prober that traffic could not reach an instance.
  ///
  /// Set once, before any traffic.
  private let suspicion = Mutex<@Sendable (Int, Int) -> Void>({ _, _ in })

  init(_ configuration: ProxyConfiguration, now: Instant) {
    flows = Mutex(NodeFlows(plan: configuration.plan, seed: configuration.seed, now: now))
    rates = Mutex(configuration.plan.limits.map { LimitTable($0, salt: configuration.seed) })
    addresses = Mutex(AddressLimit(configuration.addressLimit))
    places = Places(configuration.plan)
    tunnels = OpenTunnels(routes: configuration.plan.routes.count)
  }

  func setPokes(_ all: [@Sendable () -> Void]) { pokes.withLock { $0 = all } }

  func setSuspicion(_ body: @escaping @Sendable (Int, Int) -> Void) { suspicion.withLock { $0 = body } }

  func suspect(_ service: Int, _ instance: Int) {
    let body = suspicion.withLock { $0 }
    body(service, instance)
  }

  /// Pokes all loops but one.
  func pokeAll(but loop: Int?) {
    let all = pokes.withLock { $0 }
    for (index, poke) in all.enumerated() where index != loop { poke() }
  }

  /// Pokes the loops of a mask of ``Places``.
  func poke(_ mask: UInt64) {
    let all = pokes.withLock { $0 }
    for (index, poke) in all.enumerated() where mask & Places.bit(index) != 0 { poke() }
  }
}
