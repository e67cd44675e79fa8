// SPDX-License-Identifier: Apache-2.0

/// Keeps a process within an amount of memory: first what may wait is made to wait, then new work is refused.
///
/// Source: Envoy's overload manager (`fixed_heap`: `stop_accepting_requests`, `reset_high_memory_stream`), with its two
/// thresholds in the order in which they hurt. Waiting costs nobody an answer: a body that is not read waits with its
/// sender, a connection in the socket. What is under way goes on and gives memory back.
///
///     open ──held ≥ pauseAt──▶ pausing ──held ≥ refuseAt──▶ refusing
///       ◀──held < pauseAt − calm──      ◀──held < refuseAt − calm──
/// ## Invariants
/// 1. The level is `refusing` whenever `refuseAt` was reached at the last look, at least `pausing` whenever `pauseAt` was.
/// 2. Between two looks with the same amount held the second changes nothing: it does not flutter within `calm`.
/// 3. Below `pauseAt − calm` it is open: nothing is kept waiting for ever.
public struct MemoryBound: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Bytes that the process may hold.
    public var limit: Int
    /// From this share of the limit on bodies are not read and connections not accepted.
    ///
    /// What is under way may still grow by what it has been promised: windows, buffers of one read, heads. A sixth of the
    /// limit is room for that.
    public var pauseAt = 0.85
    /// From this share on new requests are refused.
    public var refuseAt = 0.95
    /// So much less, as a share of the limit, ends a level.
    public var calm = 0.05

    public init(limit: Int) { self.limit = limit }
  }

  public enum Level: UInt8, Sendable, Equatable, Comparable, CaseIterable {
    case open, pausing, refusing

    public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
  }

  public enum Change: Sendable, Equatable {
    case none
    case entered(Level)
  }

  public let settings: Settings
  public private(set) var level = Level.open
  /// At the last look.
  public private(set) var held = 0

  public init(_ settings: Settings) { self.settings = settings }

  /// So much is held now.
  public mutating func look(held: Int) -> Change {
    self.held = held
    var next = level
    if isAt(settings.refuseAt) {
      next = .refusing
    } else if isAt(settings.pauseAt) {
      next = level == .refusing && isAt(settings.refuseAt - settings.calm) ? .refusing : .pausing
    } else if level == .refusing && isAt(settings.refuseAt - settings.calm) {
      next = .refusing
    } else {
      next = level > .open && isAt(settings.pauseAt - settings.calm) ? .pausing : .open
    }
    if next == level { return .none }
    level = next
    return .entered(next)
  }

  private func isAt(_ share: Double) -> Bool { Double(held) >= Double(settings.limit) * share }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if isAt(settings.refuseAt) && level != .refusing { return "\(held) of \(settings.limit) bytes held and \(level)" }
    if isAt(settings.pauseAt) && level == .open { return "\(held) of \(settings.limit) bytes held and open" }
    if !isAt(settings.pauseAt - settings.calm) && level == .pausing { return "\(held) bytes held and still pausing" }
    if !isAt(settings.refuseAt - settings.calm) && level == .refusing { return "\(held) bytes held and still refusing" }
    return nil
  }
}
