// SPDX-License-Identifier: Apache-2.0

/// A run of bytes within a head, without its end.
///
/// Two bytes each, because a head is below 64 KiB.
public struct Run: Sendable, Hashable, BitwiseCopyable {
  public var start: UInt16
  public var end: UInt16

  @inlinable
  public init(_ start: Int, _ end: Int) {
    self.start = UInt16(truncatingIfNeeded: start)
    self.end = UInt16(truncatingIfNeeded: end)
  }

  /// No bytes.
  @inlinable
  public static var empty: Run { Run(0, 0) }

  @inlinable
  public var isEmpty: Bool { start == end }
  @inlinable
  public var count: Int { Int(end) - Int(start) }
  @inlinable
  public var range: Range<Int> { Int(start)..<Int(end) }
}

/// Up to four runs: the lines of a list field that is written again as one line.
public struct RunList: Sendable, Equatable, BitwiseCopyable {
  /// More lines of one forwarding field than this come from no proxy chain that is well.
  public static let limit = 4

  public private(set) var count = 0
  private var a = Run.empty
  private var b = Run.empty
  private var c = Run.empty
  private var d = Run.empty

  public init() {}

  /// False when there are four already.
  mutating func append(_ run: Run) -> Bool {
    switch count {
    case 0: a = run
    case 1: b = run
    case 2: c = run
    case 3: d = run
    default: return false
    }
    count += 1
    return true
  }

  public subscript(_ index: Int) -> Run {
    switch index {
    case 0: a
    case 1: b
    case 2: c
    default: d
    }
  }
}
