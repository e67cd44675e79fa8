// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirPatterns

/// A client of two remote instances as a Swift server would write it: the patterns decide under a lock, it acts after.
///
/// This is the example of `docs/library.md`.
final class Clerk: Sendable {
  enum Refusal: Error { case breakerOpen, noPlace, failed }

  /// Everything that decides, in one value: copied, compared and tested without a network.
  private struct State {
    var breaker = CircuitBreaker()
    var balancer = Balancer(instances: 2)
    var budget = RetryBudget()
    var random: SeededRandom
  }

  private let state: Mutex<State>
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant

  init(seed: UInt64) {
    start = clock.now
    state = Mutex(State(random: SeededRandom(seed: seed)))
  }

  /// The patterns' time: nanoseconds since this client was made.
  ///
  /// Read once for each event.
  private var now: Instant { Instant.zero + (clock.now - start) }

  /// Makes one call, and a second one elsewhere if the first fails and the budget allows it.
  func call(_ send: (Int) async throws -> String) async throws -> String {
    var tried = Balancer.Tried()
    state.withLock { $0.budget.deposit(now: now) }
    while true {
      let (instance, ticket) = try admit(avoiding: tried)
      tried.insert(instance)
      let sent = now
      do {
        let answer = try await send(instance)
        settle(instance, ticket, since: sent, failed: false)
        return answer
      } catch {
        settle(instance, ticket, since: sent, failed: true)
        let mayRetry = state.withLock { $0.budget.withdraw(now: now) }
        if !mayRetry || tried.contains(0) && tried.contains(1) { throw Refusal.failed }
      }
    }
  }

  private func admit(avoiding tried: Balancer.Tried) throws(Refusal) -> (Int, CircuitBreaker.Ticket) {
    let now = now
    // Decide under the lock, act after it: no `await` between the two.
    let outcome: Result<(Int, CircuitBreaker.Ticket), Refusal> = state.withLock { state in
      guard case .allow(let ticket) = state.breaker.admit(now: now, using: &state.random) else {
        return .failure(.breakerOpen)
      }
      guard
        case .instance(let index) = state.balancer.pick(
          among: [0, 1], excluding: tried, limit: 16, now: now, using: &state.random)
      else {
        _ = state.breaker.settle(ticket, .ignored, now: now, using: &state.random)
        return .failure(.noPlace)
      }
      state.balancer.started(index, now: now)
      return .success((index, ticket))
    }
    return try outcome.get()
  }

  private func settle(_ instance: Int, _ ticket: CircuitBreaker.Ticket, since sent: Instant, failed: Bool) {
    let now = now
    state.withLock { state in
      state.balancer.finished(instance, latency: now.since(sent), failed: failed, now: now)
      _ = state.breaker.settle(ticket, failed ? .failure : .success, now: now, using: &state.random)
    }
  }
}
