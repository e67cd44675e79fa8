// SPDX-License-Identifier: Apache-2.0

/// The text of a file, with its lines: what diagnostics quote and editors change.
package struct Source: Sendable, Equatable {
  /// As it was named.
  package let file: String
  /// Behind the byte order mark, if there was one: byte offsets count from here.
  package let text: String
  /// Byte offset of the first byte of each line.
  package let lineStarts: [Int]

  package init(file: String, text: String) {
    self.file = file
    self.text = text
    var starts = [0]
    for (offset, byte) in text.utf8.enumerated() where byte == 0x0a { starts.append(offset + 1) }
    lineStarts = starts
  }

  /// The text of a line (from 1) without its end; nil if there is no such line.
  package func line(_ number: Int) -> Substring? {
    guard number >= 1, number <= lineStarts.count else { return nil }
    let utf8 = text.utf8
    let start = utf8.index(utf8.startIndex, offsetBy: lineStarts[number - 1])
    var end = utf8.endIndex
    if number < lineStarts.count { end = utf8.index(utf8.startIndex, offsetBy: lineStarts[number] - 1) }
    var line = text[start..<end]
    // "\r\n" is one Character: scalars are looked at instead.
    if line.unicodeScalars.last == "\r" { line = Substring(line.unicodeScalars.dropLast()) }
    return line
  }

  /// The spot of a byte offset and length, for what is found in the bytes themselves.
  package func spot(at offset: Int, length: Int = 0) -> Spot {
    let line = lineNumber(at: offset)
    let start = lineStarts[line - 1]
    let utf8 = text.utf8
    let from = utf8.index(utf8.startIndex, offsetBy: start)
    let to = utf8.index(from, offsetBy: max(0, min(offset, utf8.count) - start))
    let column = utf8[from..<to].reduce(into: 1) { if $1 & 0xc0 != 0x80 { $0 += 1 } }
    return Spot(line: line, column: column, bytes: offset..<offset + length)
  }

  private func lineNumber(at offset: Int) -> Int {
    var low = 0
    var high = lineStarts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if lineStarts[middle] <= offset { low = middle } else { high = middle }
    }
    return low + 1
  }
}
