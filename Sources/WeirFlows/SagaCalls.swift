// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Calls that sagas make along one edge, from one event loop: so many at a time, the others stand in line; and one that finds
/// no place at its service is made again for a while, before that is an answer.
///
/// A saga has few attempts for a step and waits long between them; a service that is full for some seconds must not use them up.
/// What a call is, is the driver's matter (`WeirProxy`, the simulator).
///
///     begin ─▶ now ────────▶ the call is made ─▶ ended: nobody was asked, for there was no place? ─▶ again, a little later
///        └──▶ stands in line ──next──▶┘                └─ it is an answer: leave ─▶ next of the line
/// ## Invariants
/// 1. At most `slots` calls have a place, those that are made again included; after a plan with fewer, until they have ended.
/// 2. Calls go in the order in which they came.
public struct SagaCalls<Call> {
  /// How long a call is made again while there is no place for it; then the saga's own retries go on, with longer waits.
  public static var patience: Int64 { 30_000_000_000 }
  /// Before it is made again, and up to as much more: a queue that is full has moved on.
  public static var pause: Int64 { 200_000_000 }

  /// Calls that have a place.
  public private(set) var inFlight = 0
  private var waiting: [Call] = []
  private var first = 0

  public init() {}

  /// Calls that stand in line.
  public var inLine: Int { waiting.count - first }

  /// True: the call has a place and is to be made now; false: it stands in line.
  public mutating func begin(_ call: Call, slots: Int) -> Bool {
    guard inFlight < max(1, slots) else {
      waiting.append(call)
      return false
    }
    inFlight += 1
    return true
  }

  /// A call is over: its place is free.
  public mutating func leave() { inFlight -= 1 }

  /// The first of the line, which has a place now: to be made, or, if nobody wants it any more, to ``leave()`` at once.
  public mutating func next(slots: Int) -> Call? {
    guard inFlight < max(1, slots), first < waiting.count else { return nil }
    let call = waiting[first]
    first += 1
    inFlight += 1
    if first > 64 && first * 2 > waiting.count {
      waiting.removeFirst(first)
      first = 0
    }
    return call
  }

  /// In how many nanoseconds a call that has ended so is made again; nil: it is an answer.
  ///
  /// `waited` is the time since it was made for the first time.
  public static func again(
    after reason: Reason, attempts: UInt8, waited: Int64, using random: inout SeededRandom
  ) -> Int64? {
    guard attempts == 0, waited < patience else { return nil }
    switch reason {
    case .queueFull, .queueTimeout, .overloaded, .shed, .throttled: return pause + random.nanoseconds(upTo: pause)
    default: return nil
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? { inFlight < 0 ? "\(inFlight) calls have a place" : nil }
}

extension SagaCalls: Sendable where Call: Sendable {}
extension SagaCalls: Equatable where Call: Equatable {}
