// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirBase
import WeirProcesses

/// Bytes to lines.
struct LineSplitterTests {
  static func lines(_ pieces: [String]) -> [String] {
    var splitter = LineSplitter()
    var lines: [[UInt8]] = []
    for piece in pieces { splitter.feed(Array(piece.utf8), now: .zero, into: &lines) }
    return lines.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    "cuts at newlines, wherever the pieces end",
    arguments: [
      (["a\nb\n"], ["a", "b"]), (["a", "b\n"], ["ab"]), (["a\r\nb\r\n"], ["a", "b"]), (["\n\n"], ["", ""]),
      (["a\r", "\nb"], ["a"]), (["a\rb\n"], ["a\rb"]), ([""], []),
    ])
  func cuts(pieces: [String], expected: [String]) { #expect(Self.lines(pieces) == expected) }

  @Test("any way of cutting the bytes gives the same lines", arguments: 0..<100)
  func pieces(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let text = (0..<200).map { _ in ["a", "é", "\n", "\r\n", " "][random.index(below: 5)] }.joined() + "\n"
    var splitter = LineSplitter()
    var lines: [[UInt8]] = []
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = 1 + random.index(below: 9)
      splitter.feed(Array(rest.prefix(count)), now: .zero, into: &lines)
      rest = rest.dropFirst(count)
    }
    #expect(lines.map { String(decoding: $0, as: UTF8.self) } == Self.lines([text]))
  }

  @Test("a line of just the limit is whole, a longer one comes in pieces")
  func limit() {
    let most = LineSplitter.bytesMax
    #expect(Self.lines([String(repeating: "x", count: most) + "\n"]).map(\.count) == [most])
    #expect(Self.lines([String(repeating: "x", count: 2 * most + 5) + "\n"]).map(\.count) == [most, most, 5])
  }

  @Test("an unfinished line is given out when its time is over, and counted from its first byte")
  func patience() {
    var splitter = LineSplitter()
    var lines: [[UInt8]] = []
    splitter.feed(Array("Name: ".utf8), now: .zero, into: &lines)
    let due = Instant.zero + LineSplitter.patience
    #expect(splitter.nextWake == due)
    splitter.feed(Array("?".utf8), now: Instant(nanoseconds: 5), into: &lines)
    #expect(splitter.nextWake == due)
    splitter.wake(now: due.advanced(by: -1), into: &lines)
    #expect(lines.isEmpty)
    splitter.wake(now: due, into: &lines)
    #expect(lines == [Array("Name: ?".utf8)])
    #expect(splitter.nextWake == nil)
    splitter.flush(into: &lines)
    #expect(lines.count == 1)
  }
}
