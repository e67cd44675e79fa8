// SPDX-License-Identifier: Apache-2.0
internal import Synchronization

/// An issuer's keys, kept fresh: read at the start, again from time to time, and once more when a token names a new one.
///
/// Thread-safe. One fetch at a time; who needs it waits for the same one. The last good set is kept when the issuer does
/// not answer or gives nonsense: tokens that were good stay good, and nobody else gets in. With no set at all, nobody does.
///
/// ## Invariants
/// 1. A token that names a key which is not in the set causes at most one fetch in `unknownEvery`, whoever sends how many.
/// 2. `version` changes when the set does, and only then: what was verified with other keys is verified anew.
package final class KeyStore: Sendable {
  package struct Settings: Sendable, Equatable {
    /// Seconds between two fetches; Auth0 and Keycloak advise to cache for minutes, and rotate over days.
    package var refreshEvery: Int64 = 300
    /// Seconds between two fetches for keys that nobody knows.
    package var unknownEvery: Int64 = 10
    /// Seconds after a fetch that failed; doubles up to `refreshEvery`.
    package var retryEvery: Int64 = 1

    package init() {}
  }

  /// How it stands, for status and metrics.
  package struct Standing: Sendable, Equatable {
    package var keys = 0
    package var fetches: UInt64 = 0
    package var failures: UInt64 = 0
    /// Seconds since 1970; 0 when there never was a good set.
    package var fetchedAt: Int64 = 0
    /// A sentence; nil when the last fetch was good.
    package var fault: String?
  }

  private struct State {
    var set: KeySet?
    var version: UInt64 = 0
    var last: [UInt8] = []
    var standing = Standing()
    var running: Task<Void, Never>?
    var nextAt: Int64 = 0
    var failuresInARow = 0
    var unknownAt = Int64.min
  }

  package let settings: Settings
  private let state = Mutex(State())
  private let fetch: @Sendable () async throws -> [UInt8]

  package init(_ settings: Settings = Settings(), fetch: @escaping @Sendable () async throws -> [UInt8]) {
    self.settings = settings
    self.fetch = fetch
  }

  package var standing: Standing { state.withLock { $0.standing } }

  /// The set and its version; nil before the first good fetch.
  func current() -> (set: KeySet, version: UInt64)? {
    state.withLock { state in state.set.map { ($0, state.version) } }
  }

  var version: UInt64 { state.withLock { $0.version } }

  /// Whether it is time for the next fetch; `now` is seconds since 1970.
  package func isDue(now: Int64) -> Bool { state.withLock { now >= $0.nextAt && $0.running == nil } }

  /// Fetches, or waits for the fetch that is under way.
  package func refresh(now: Int64) async {
    let task = state.withLock { state in
      if let running = state.running { return running }
      let task = Task { await self.fetchOnce(now: now) }
      state.running = task
      return task
    }
    await task.value
  }

  /// For a token that names a key which is not in the set: true when there may be more in it now.
  func refreshForUnknown(now: Int64) async -> Bool {
    let before = version
    let may = state.withLock { state in
      if state.running != nil { return true }
      if state.unknownAt != .min && now < state.unknownAt + settings.unknownEvery { return false }
      state.unknownAt = now
      return true
    }
    if may { await refresh(now: now) }
    return version != before
  }

  private func fetchOnce(now: Int64) async {
    var fault: String?
    do {
      let bytes = try await fetch()
      if state.withLock({ $0.set != nil && $0.last == bytes }) {
        took(nil, bytes, now: now)
      } else {
        took(try KeySet(bytes), bytes, now: now)
      }
    } catch { fault = "\(error)" }
    state.withLock { state in
      state.running = nil
      state.standing.fetches += 1
      state.standing.fault = fault
      if fault == nil {
        state.failuresInARow = 0
        state.nextAt = now + settings.refreshEvery
      } else {
        state.standing.failures += 1
        let wait = settings.retryEvery << Int64(min(16, state.failuresInARow))
        state.nextAt = now + min(settings.refreshEvery, wait)
        state.failuresInARow += 1
      }
    }
  }

  private func took(_ set: KeySet?, _ bytes: [UInt8], now: Int64) {
    state.withLock { state in
      if let set {
        state.set = set
        state.last = bytes
        state.version += 1
      }
      state.standing.keys = state.set?.keys.count ?? 0
      state.standing.fetchedAt = now
    }
  }
}
