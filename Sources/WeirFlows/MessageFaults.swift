// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// What a scenario does to messages on their way in: some come late, some come twice.
///
/// The one that is late is overtaken by those sent after it; the one that is doubled comes again as a message of its own, as
/// from a sender that has heard no answer. The driver holds them up and brings them in; here it is said which, and for how
/// long. Which messages are hit is a matter of what they are, not of chance: the same ones in every variant of a system.
///
/// ## Invariants
/// 1. A fault hits at most `count` messages, between `begins` and `ends`.
/// 2. A message is late by one fault at most, and then none behind that sees it.
public struct MessageFaults: Sendable, Equatable {
  public enum Kind: String, Sendable, Equatable {
    case delay, double
  }

  public struct Fault: Sendable, Equatable {
    public var kind: Kind
    /// The queue, topic or stream.
    public var to: String
    /// Only what this one sends; nil: whoever does.
    public var from: String?
    public var by: Duration
    public var share = 1.0
    public var count = Int.max
    public var begins: Instant
    public var ends: Instant

    public init(_ kind: Kind, to: String, from: String? = nil, by: Duration, begins: Instant, ends: Instant) {
      self.kind = kind
      self.to = to
      self.from = from
      self.by = by
      self.begins = begins
      self.ends = ends
    }
  }

  /// What becomes of a message.
  public struct Fate: Sendable, Equatable {
    /// Nil: it comes at once.
    public var late: Duration?
    /// It comes again, so much after now.
    public var again: [Duration] = []

    public init() {}
  }

  public let faults: [Fault]
  /// How many messages each fault has hit.
  public private(set) var hits: [Int]
  private let salts: [UInt64]

  public init(_ faults: [Fault]) {
    self.faults = faults
    hits = Array(repeating: 0, count: faults.count)
    salts = faults.indices.map {
      var random = SeededRandom(seed: 1, stream: "fault \($0)")
      return random.next()
    }
  }

  /// Whether a fault that hits a share of messages hits the one of this key.
  public static func isHit(_ key: UInt64, salt: UInt64, share: Double) -> Bool {
    if share >= 1 { return true }
    var state = key ^ salt
    return Double(SeededRandom.split(&state) >> 11) * 0x1p-53 < share
  }

  /// A message is sent; `key` is a number made of what it is.
  public mutating func fate(of key: UInt64, to: String, from: String?, now: Instant) -> Fate {
    var fate = Fate()
    for i in faults.indices {
      let fault = faults[i]
      guard hits[i] < fault.count, now >= fault.begins, now < fault.ends, fault.to == to,
        fault.from == nil || fault.from == from, MessageFaults.isHit(key, salt: salts[i], share: fault.share)
      else { continue }
      hits[i] += 1
      switch fault.kind {
      case .delay:
        fate.late = fault.by
        return fate
      case .double: fate.again.append(fault.by)
      }
    }
    return fate
  }
}
