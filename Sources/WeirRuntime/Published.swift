// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirTelemetry

/// What the plane last published for whoever asks: the admin listener and the live view.
///
/// Guarded by a lock.
final class Published: Sendable {
  private struct State {
    var snapshot: Snapshot?
    var names: Names?
    var status: Status?
    var isReady = false
    var admin = ""
    var isRetired = false
  }

  private let state = Mutex(State())

  /// Where the admin listener is; empty without one.
  var admin: String {
    get { state.withLock { $0.admin } }
    set { state.withLock { $0.admin = newValue } }
  }

  /// Another plane is looked at from now on.
  var isRetired: Bool {
    get { state.withLock { $0.isRetired } }
    set { state.withLock { $0.isRetired = newValue } }
  }

  var isReady: Bool { state.withLock { $0.isReady } }
  /// Nil before the first tick.
  var status: Status? { state.withLock { $0.status } }

  func publish(_ snapshot: Snapshot, _ status: Status, names: Names, isReady: Bool) {
    state.withLock {
      $0.snapshot = snapshot
      $0.names = names
      $0.status = status
      $0.isReady = isReady
    }
  }

  /// The Prometheus text, made when it is asked for; empty before the first tick.
  func metrics() -> String {
    guard case (let snapshot?, let names?) = state.withLock({ ($0.snapshot, $0.names) }) else { return "" }
    return Metrics.text(snapshot, names: names, version: WeirVersion.text)
  }
}
