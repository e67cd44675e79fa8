// SPDX-License-Identifier: Apache-2.0

/// What has been read of one request for the conditions of routes: a small number for each subject, no bytes.
///
/// Made by ``RouteTrie/read(query:_:into:)`` and ``RouteTrie/read(field:value:_:into:)`` of the same trie; 72 bytes, on
/// the stack. Fresh ones say that the request has no query and no fields.
public struct RouteReadings: Sendable, BitwiseCopyable {
  /// The subjects a look-up asks for, a bit each.
  public struct Subjects: Sendable, Equatable, BitwiseCopyable {
    var bits: UInt32 = 0

    public var isEmpty: Bool { bits == 0 }
  }

  static let absent: UInt16 = 0
  /// Present, with a value that no condition names.
  static let other: UInt16 = 1
  /// More than once: equals nothing.
  static let several: UInt16 = 2
  static let firstValue = 3

  var values = InlineArray<32, UInt16>(repeating: RouteReadings.absent)
  /// Of the conditions that are no `equals`: which hold.
  var flags: UInt64 = 0

  public init() {}
}
