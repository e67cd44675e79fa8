// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import NIOCore
import Synchronization

/// What a program does wrong on purpose, switched on its admin path; `{}` is nothing, so posting it resets.
package struct Faults: Sendable, Equatable, Codable {
  /// Answer this status instead of working.
  package var status: Int?
  /// Work this much longer.
  package var slow: TimeLength?
  /// Never answer, until the faults are changed.
  package var hang: Bool?
  /// Close the connection before answering.
  package var close: Bool?
  /// Die as by `kill -9`: before the work, or after it and before its answer.
  package var die: Death?
  /// The share of requests that are hit, 0 … 1; without it all.
  package var share: Double?
  /// What `/healthz` says; without it the truth.
  package var health: Bool?

  package enum Death: String, Sendable, Codable { case before, after }

  package init() {}

  private enum Key: String, CodingKey, CaseIterable { case status, slow, hang, close, die, share, health }

  /// Strict: an unknown key is an error and not a fault that silently does nothing.
  package init(from decoder: any Decoder) throws {
    for key in try decoder.container(keyedBy: AnyKey.self).allKeys where Key(rawValue: key.stringValue) == nil {
      let known = Key.allCases.map(\.rawValue).joined(separator: ", ")
      throw Problem(.badRequest, "unknown fault '\(key.stringValue)'; known are \(known)")
    }
    let values = try decoder.container(keyedBy: Key.self)
    status = try values.decodeIfPresent(Int.self, forKey: .status)
    slow = try values.decodeIfPresent(TimeLength.self, forKey: .slow)
    hang = try values.decodeIfPresent(Bool.self, forKey: .hang)
    close = try values.decodeIfPresent(Bool.self, forKey: .close)
    if let word = try values.decodeIfPresent(String.self, forKey: .die) {
      guard let death = Death(rawValue: word) else { throw Problem(.badRequest, "die must be before or after") }
      die = death
    }
    share = try values.decodeIfPresent(Double.self, forKey: .share)
    health = try values.decodeIfPresent(Bool.self, forKey: .health)
    if let status, !(200...599).contains(status) { throw Problem(.badRequest, "status must be 200 to 599") }
    if let share, !(0...1).contains(share) { throw Problem(.badRequest, "share must be 0 to 1") }
  }

  private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}

/// The faults in force, behind a lock, with the requests that hang because of them.
final class FaultBoard: Sendable {
  private struct State {
    var faults = Faults()
    var random: Chance
    var hanging: [CheckedContinuation<Void, Never>] = []
  }

  private let state: Mutex<State>

  init(seed: UInt64) { state = Mutex(State(random: Chance(seed: seed))) }

  var current: Faults { state.withLock { $0.faults } }

  /// Puts other faults in force; what hangs goes on.
  func set(_ faults: Faults) {
    let released = state.withLock { state in
      state.faults = faults
      defer { state.hanging = [] }
      return state.hanging
    }
    for continuation in released { continuation.resume() }
  }

  /// The faults that hit this request, by chance if only a share is hit.
  func strike() -> Faults? {
    state.withLock { state in
      let faults = state.faults
      if faults.status == nil, faults.slow == nil, faults.hang != true, faults.close != true, faults.die == nil {
        return nil
      }
      if let share = faults.share, state.random.unit() >= share { return nil }
      return faults
    }
  }

  /// Waits until the faults are changed; not at all when they were since the strike.
  func hang() async {
    await withCheckedContinuation { continuation in
      let over = state.withLock { state in
        guard state.faults.hang == true else { return true }
        state.hanging.append(continuation)
        return false
      }
      if over { continuation.resume() }
    }
  }
}
