// SPDX-License-Identifier: Apache-2.0

/// What is made of a log's events before they are in the queue of a group: each once, in the order of their numbers.
///
/// Times are in milliseconds.
public struct GroupOrder: Sendable, Equatable, Codable {
  /// The events of a key go into the queue in the order of the numbers that they carry.
  public struct Sequence: Sendable, Equatable, Codable {
    /// The member of an event's data, its attribute or the field of its request that is its number.
    public var by: String
    /// How long those behind a missing one are kept.
    public var wait: Int64
    /// A key in which one is missing for longer waits on; else it goes on without.
    public var stops: Bool

    public init(by: String, wait: Int64, stops: Bool = false) {
      self.by = by
      self.wait = wait
      self.stops = stops
    }
  }

  /// What has come before is left out.
  public struct Dedup: Sendable, Equatable, Codable {
    /// What names an event, as `Sequence.by`; nil: its id.
    public var by: String?
    public var within: Int64

    public init(by: String? = nil, within: Int64) {
      self.by = by
      self.within = within
    }
  }

  public var sequence: Sequence?
  public var dedup: Dedup?

  public init(sequence: Sequence? = nil, dedup: Dedup? = nil) {
    self.sequence = sequence
    self.dedup = dedup
  }
}

/// What has become of the events of a group that are sorted; each counted once, with what was done to it.
public struct OrderCounts: Sendable, Equatable {
  /// Left out, for they had come before.
  public var copies: Int64 = 0
  /// Kept until those before them had come.
  public var kept: Int64 = 0
  /// Numbers that were not waited for any longer.
  public var skipped: Int64 = 0
  /// Dead, for they came after those behind them had gone on.
  public var late: Int64 = 0
  /// Kept now.
  public var keeping: Int64 = 0
  /// Keys in which something is missing now.
  public var gaps: Int64 = 0

  public init() {}
}

extension StateWriter {
  mutating func order(_ order: GroupOrder?) {
    flag(order?.sequence != nil)
    if let sequence = order?.sequence {
      text(sequence.by)
      i64(sequence.wait)
      flag(sequence.stops)
    }
    flag(order?.dedup != nil)
    if let dedup = order?.dedup {
      text(dedup.by ?? "")
      i64(dedup.within)
    }
  }

  mutating func orderCounts(_ counts: OrderCounts?) {
    flag(counts != nil)
    guard let counts else { return }
    for number in [counts.copies, counts.kept, counts.skipped, counts.late, counts.keeping, counts.gaps] { i64(number) }
  }
}

extension StateReader {
  mutating func order(_ bytes: Span<UInt8>) throws(StateFrameError) -> GroupOrder? {
    var order = GroupOrder()
    if try flag(bytes) {
      let by = try name(bytes)
      order.sequence = GroupOrder.Sequence(by: by, wait: try length(bytes), stops: try flag(bytes))
    }
    if try flag(bytes) {
      let by = try text(bytes, atMost: QueueLimits.nameBytesMax)
      order.dedup = GroupOrder.Dedup(by: by.isEmpty ? nil : by, within: try length(bytes))
    }
    return order == GroupOrder() ? nil : order
  }

  mutating func orderCounts(_ bytes: Span<UInt8>) throws(StateFrameError) -> OrderCounts? {
    guard try flag(bytes) else { return nil }
    var counts = OrderCounts()
    counts.copies = try length(bytes)
    counts.kept = try length(bytes)
    counts.skipped = try length(bytes)
    counts.late = try length(bytes)
    counts.keeping = try length(bytes)
    counts.gaps = try length(bytes)
    return counts
  }
}
