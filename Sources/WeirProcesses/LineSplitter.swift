// SPDX-License-Identifier: Apache-2.0

package import WeirBase

/// Cuts a stream of bytes into lines, with a limit on their length and on how long a line may stay unfinished.
///
/// Pure. A line longer than ``bytesMax`` comes in pieces. What has no newline yet is given out after ``patience``, so
/// that a prompt or a last word before a hang is seen; the rest of that line then comes as a line of its own.
package struct LineSplitter: Sendable, Equatable {
  /// 64 KiB: longer than any line meant for people; what is longer is data, and is cut.
  package static let bytesMax = 64 << 10
  /// Long enough that a line written in two pieces stays one, short enough to follow by eye.
  package static let patience = Duration.milliseconds(300)

  var partial: [UInt8] = []
  /// When the unfinished line must be given out.
  package private(set) var nextWake: Instant?

  package init() {}

  /// Appends the lines that `bytes` complete, without their line ends.
  package mutating func feed(_ bytes: [UInt8], now: Instant, into lines: inout [[UInt8]]) {
    for piece in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
      if piece.offset > 0 { finish(into: &lines) }
      var rest = piece.element
      while partial.count + rest.count > LineSplitter.bytesMax {
        let room = LineSplitter.bytesMax - partial.count
        partial += rest.prefix(room)
        rest = rest.dropFirst(room)
        finish(into: &lines)
      }
      partial += rest
    }
    if partial.isEmpty {
      nextWake = nil
    } else if nextWake == nil {
      nextWake = now + LineSplitter.patience
    }
  }

  /// Gives out an unfinished line whose time is over.
  package mutating func wake(now: Instant, into lines: inout [[UInt8]]) {
    if let due = nextWake, now >= due { flush(into: &lines) }
  }

  /// The stream is at its end: gives out what is left.
  package mutating func flush(into lines: inout [[UInt8]]) {
    if !partial.isEmpty { finish(into: &lines) }
    nextWake = nil
  }

  private mutating func finish(into lines: inout [[UInt8]]) {
    if partial.last == 13 { partial.removeLast() }
    lines.append(partial)
    partial.removeAll(keepingCapacity: true)
    nextWake = nil
  }
}
