// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Tells how a mirror's answers differ from those that callers got: counts, latencies, the last examples.
///
/// Source: GitHub's Scientist (2014) and Twitter's Diffy (2015): the candidate runs beside the control, and only the control's
/// answer counts. Statuses are compared by their number, bodies by a hash of their bytes: what differs each time (a date, an
/// id in the body) makes every body differ, and then `compare` is not for it.
///
/// ## Invariants
/// 1. Every mirrored request is counted once: `compared = same + otherStatus + otherBody + unanswered`.
/// 2. At most ``Settings/examples`` examples are kept, the last ones.
public struct MirrorReport: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Requests of a route that may be at its mirror at the same time; what comes beyond is not mirrored.
    ///
    /// A mirror that hangs holds so many connections and copies of requests, and no more.
    public var atOnce = 16
    /// Examples that are kept.
    public var examples = 8

    public init() {}
  }

  /// One answer.
  public struct Answer: Sendable, Equatable, BitwiseCopyable {
    /// 0: there was none.
    public var status: UInt16
    public var hash: UInt64
    public var bytes: Int64
    /// From the request's going out to the answer's end, in nanoseconds.
    public var duration: Int64

    public init(status: UInt16 = 0, hash: UInt64 = 0, bytes: Int64 = 0, duration: Int64 = 0) {
      self.status = status
      self.hash = hash
      self.bytes = bytes
      self.duration = duration
    }
  }

  public enum Difference: UInt8, Sendable, Equatable, CaseIterable {
    case same, otherStatus, otherBody, unanswered

    /// The word of metrics and status.
    public var name: StaticString {
      switch self {
      case .same: "same"
      case .otherStatus: "other-status"
      case .otherBody: "other-body"
      case .unanswered: "unanswered"
      }
    }
  }

  public struct Example: Sendable, Equatable {
    public var difference: Difference
    public var given: Answer
    public var mirrored: Answer
    /// Method and path.
    public var request: String
    public var at: Instant

    public init(difference: Difference, given: Answer, mirrored: Answer, request: String, at: Instant) {
      self.difference = difference
      self.given = given
      self.mirrored = mirrored
      self.request = request
      self.at = at
    }
  }

  public let settings: Settings
  /// By ``Difference``.
  public private(set) var counts = FixedArray<4, UInt64>(repeating: 0)
  /// Requests that were not mirrored: too large to be kept, or too many at the mirror.
  public private(set) var skipped: UInt64 = 0
  /// Of the pairs that were both answered: how long each took.
  public private(set) var given = Tally()
  public private(set) var mirrored = Tally()
  public private(set) var examples: [Example] = []

  public init(_ settings: Settings = Settings()) { self.settings = settings }

  /// How two answers differ; `bodies` says whether these count.
  public static func difference(_ given: Answer, _ mirrored: Answer, bodies: Bool) -> Difference {
    if mirrored.status == 0 { return .unanswered }
    if given.status != mirrored.status { return .otherStatus }
    if bodies && (given.hash != mirrored.hash || given.bytes != mirrored.bytes) { return .otherBody }
    return .same
  }

  public func count(_ difference: Difference) -> UInt64 { counts[Int(difference.rawValue)] }

  public var compared: UInt64 { Difference.allCases.reduce(0) { $0 + count($1) } }

  /// A pair is complete.
  public mutating func note(_ given: Answer, _ mirrored: Answer, _ difference: Difference) {
    counts[Int(difference.rawValue)] &+= 1
    guard mirrored.status != 0 else { return }
    self.given.record(given.duration)
    self.mirrored.record(mirrored.duration)
  }

  public mutating func skip() { skipped &+= 1 }

  public mutating func keep(_ example: Example) {
    if examples.count >= settings.examples { examples.removeFirst() }
    if settings.examples > 0 { examples.append(example) }
  }

  /// Adds another loop's report.
  public mutating func merge(_ other: MirrorReport) {
    for i in 0..<4 { counts[i] &+= other.counts[i] }
    skipped &+= other.skipped
    given.merge(other.given)
    mirrored.merge(other.mirrored)
    examples = Array((examples + other.examples).sorted { $0.at < $1.at }.suffix(settings.examples))
  }
}
