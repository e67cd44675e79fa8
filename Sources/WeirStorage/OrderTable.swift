// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// The rows of groups whose events are sorted before they are in the group's queue (``GroupOrder``).
///
/// Written in the transaction that puts an event into the queue, or leaves it out: what was handed on, and what has come,
/// cannot be forgotten by a crash. All points of time are wall time in milliseconds.
package protocol OrderTable {
  /// The number that is next in a stream; nil: nothing of it was handed on yet, or it was silent for too long.
  func next(_ queue: Int64, stream: [UInt8]) throws -> Int64?
  func saveNext(_ queue: Int64, stream: [UInt8], _ number: Int64, at: Int64) throws
  /// The event that was the first of this name, and when it came.
  func first(_ queue: Int64, named name: [UInt8]) throws -> (position: Int64, at: Int64)?
  func saveFirst(_ queue: Int64, named name: [UInt8], position: Int64, at: Int64) throws
  func forgetFirst(_ queue: Int64, named name: [UInt8]) throws

  /// A message that was inserted before is kept until its turn.
  func keep(_ sequence: Int64, _ kept: KeptEvent, queue: Int64) throws
  /// Those that are kept, by when they came.
  func kept(_ queue: Int64) throws -> [(sequence: Int64, event: KeptEvent)]
  /// It is not kept any more; its message stays.
  func unkeep(_ sequence: Int64) throws
  /// Its turn has come: it waits as a message of this number from now on; nil if it is gone.
  func release(_ sequence: Int64, as next: Int64, due: Int64, expires: Int64) throws -> LiveMessage?

  /// How often what was done to a group's events; without what can be counted.
  func orderCounts(_ queue: Int64) throws -> OrderCounts
  func saveOrderCounts(_ queue: Int64, _ counts: OrderCounts) throws

  /// Removes at most `limit` names and streams that came last before these points; how many.
  func forgetOrder(_ queue: Int64, names: Int64, streams: Int64, limit: Int) throws -> Int
  /// Streams and their numbers begin anew.
  func clearStreams(_ queue: Int64) throws
}

/// An event that waits for those before it.
package struct KeptEvent: Sendable, Equatable {
  /// Its key, which counts its events.
  package var stream: [UInt8]
  package var number: Int64
  package var position: Int64
  package var since: Int64
  /// What it is called, if copies are told apart.
  package var name: [UInt8]

  package init(stream: [UInt8], number: Int64, position: Int64, since: Int64, name: [UInt8]) {
    self.stream = stream
    self.number = number
    self.position = position
    self.since = since
    self.name = name
  }
}
