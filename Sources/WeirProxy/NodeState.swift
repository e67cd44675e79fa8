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
  let rates: Mutex<[RateTable]>
  let addresses: Mutex<AddressLimit>
  /// Wrong credentials by client: who sends many is not listened to for a while.
  let failures: Mutex<RateTable>
  let places: Places
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
    rates = Mutex(
      configuration.plan.limits.map { limit in
        var settings = RateTable.Settings()
        settings.cells = limit.cells
        settings.salt = configuration.seed
        return RateTable(GCRA(rate: limit.rate, burst: max(1, limit.burst)), settings)
      })
    addresses = Mutex(AddressLimit(configuration.addressLimit))
    // Ten at once, then one in six seconds: a person who errs is not stopped, a dictionary takes years.
    var settings = RateTable.Settings()
    settings.cells = configuration.access == nil ? 8 : 65_536
    settings.salt = configuration.seed ^ 0x1d
    failures = Mutex(RateTable(GCRA(rate: Rate(perSecond: 1.0 / 6), burst: 10), settings))
    places = Places(configuration.plan)
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
