// SPDX-License-Identifier: Apache-2.0

/// A number of bytes.
public struct Bytes: Sendable, Hashable, Comparable, BitwiseCopyable {
  public var count: Int

  public init(_ count: Int) { self.count = count }

  public static func kibi(_ n: Int) -> Bytes { Bytes(n << 10) }
  public static func mebi(_ n: Int) -> Bytes { Bytes(n << 20) }
  public static func gibi(_ n: Int) -> Bytes { Bytes(n << 30) }

  public static func < (a: Bytes, b: Bytes) -> Bool { a.count < b.count }
}

/// How often, in events a second; above 0 where a limit is meant.
public struct Rate: Sendable, Hashable, Comparable, BitwiseCopyable {
  public var perSecond: Double

  public init(perSecond: Double) { self.perSecond = perSecond }

  /// The mean distance of two events in nanoseconds, saturating; `Int64.max` for a rate of 0.
  public var intervalNanoseconds: Int64 {
    let interval = 1e9 / perSecond
    return interval < 9.2e18 ? Int64(interval.rounded()) : .max
  }

  public static func < (a: Rate, b: Rate) -> Bool { a.perSecond < b.perSecond }
}
