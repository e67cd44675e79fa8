// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

@Suite struct ChunkedScannerTests {
  /// The data, and how it ended; the buffer is given in pieces of `size` bytes.
  func read(_ bytes: [UInt8], by size: Int = .max) -> (data: [UInt8], end: Int?, error: HeadError?) {
    var scanner = ChunkedScanner()
    var data: [UInt8] = []
    var start = 0
    while start < bytes.count {
      let piece = Array(bytes[start..<min(bytes.count, start &+ min(size, bytes.count))])
      var at = 0
      loop: while true {
        switch scanner.next(piece.span, from: &at) {
        case .data(let run): data += piece[run]
        case .needMore: break loop
        case .end(let offset): return (data, start + offset, nil)
        case .refused(let error): return (data, nil, error)
        }
      }
      start += piece.count
    }
    return (data, nil, nil)
  }
  func read(_ text: String, by size: Int = .max) -> (data: [UInt8], end: Int?, error: HeadError?) {
    read(Array(text.utf8), by: size)
  }

  static let good: [(String, String)] = [
    ("0\r\n\r\n", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world"),
    ("A;name=value;q=\"x y\"\r\n0123456789\r\n0;last\r\n\r\n", "0123456789"), ("1 ;a\r\nx\r\n0\r\n\r\n", "x"),
    ("3\r\n\r\n0\r\n0\r\nX-Sum: abc\r\nOther:\r\n\r\n", "\r\n0"), ("0003\r\nabc\r\n0\r\n\r\n", "abc"),
  ]

  @Test("reads chunks, extensions and trailers, however they are cut", arguments: good)
  func reads(_ text: String, _ data: String) {
    for size in 1...text.utf8.count {
      let result = read(text + "GET", by: size)
      #expect(result.data == Array(data.utf8), "by \(size)")
      #expect(result.end == text.utf8.count, "by \(size)")
    }
  }

  @Test(
    "refuses what is not exactly a chunk",
    arguments: [
      ("\r\n", HeadError.chunkSize), ("x\r\n", .chunkSize), ("-1\r\n", .chunkSize), ("+1\r\na", .chunkSize),
      ("0x1\r\na", .chunkSize), (" 1\r\na", .chunkSize), ("1_0\r\n", .chunkSize), ("1000000000000000\r\n", .chunkSize),
      ("1\na\r\n", .lineEnding), ("1\r\r\na", .lineEnding), ("1;a\nb\r\n", .chunkExtension),
      ("1;a\u{0}\r\n", .chunkExtension), ("1 2\r\n", .chunkSize), ("1\r\nab\r\n", .chunkEnd), ("1\r\na\n", .chunkEnd),
      ("2\r\na\r\n0\r\n", .chunkEnd), ("0\r\nA b: c\r\n\r\n", .trailer), ("0\r\n: c\r\n\r\n", .trailer),
      ("0\r\nA: b\n\r\n", .trailer), ("0\r\n A: b\r\n\r\n", .trailer), ("0\r\nA\r\n\r\n", .trailer),
      ("0\r\nContent-Length: 5\r\n\r\n", .trailer), ("0\r\nX-Forwarded-For: 1\r\n\r\n", .trailer),
      ("0\r\nTransfer-Encoding: chunked\r\n\r\n", .trailer), ("0\r\nHost: a\r\n\r\n", .trailer),
      ("0\r\nweir-deadline: 1\r\n\r\n", .trailer), ("0\r\nX_Forwarded_For: 1\r\n\r\n", .trailer),
    ])
  func refuses(_ text: String, _ error: HeadError) {
    #expect(read(text).error == error)
    #expect(read(text, by: 1).error == error)
  }

  @Test("limits from both sides: extension, trailers, many small chunks with long extensions")
  func limits() {
    func extended(_ count: Int) -> String { "1;" + String(repeating: "x", count: count - 2) + "\r\na\r\n0\r\n\r\n" }
    #expect(read(extended(255)).error == nil)
    #expect(read(extended(257)).error == .chunkExtension)
    func trailed(_ count: Int) -> String {
      "0\r\n" + String(repeating: "A: b\r\n", count: count) + "\r\n"
    }
    #expect(read(trailed(32)).end != nil)
    #expect(read(trailed(33)).error == .trailer)
    #expect(read("0\r\nA: " + String(repeating: "x", count: 9000) + "\r\n\r\n").error == .trailer)
    let plain = String(repeating: "1\r\na\r\n", count: 100_000) + "0\r\n\r\n"
    #expect(read(plain).end == plain.utf8.count)
    let costly = String(repeating: "1;" + String(repeating: "x", count: 200) + "\r\na\r\n", count: 100)
    #expect(read(costly).error == .chunkExtension)
  }

  @Test("announces a chunk's bytes before they come")
  func announces() {
    var scanner = ChunkedScanner()
    var at = 0
    let bytes = Array("5\r\nhello\r\nffff\r\n".utf8)
    #expect(scanner.skip(bytes.span, from: &at) == .needMore)
    #expect(scanner.announced == 5 + 65_535)
  }

  /// Random bodies, random cuts, and what comes out is what went in.
  @Test("round trip", arguments: 0..<50)
  func walk(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "chunks")
    var out = HeadBuffer()
    var data: [UInt8] = []
    for _ in 0..<random.index(below: 30) {
      let size = 1 + random.index(below: 300)
      let chunk = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      out.append(hex: UInt64(size))
      out.append("\r\n")
      out.append(chunk)
      out.append("\r\n")
      data += chunk
    }
    out.append("0\r\n\r\n")
    let bytes = Array(out.storage.prefix(out.count))
    let result = read(bytes, by: 1 + random.index(below: 40))
    #expect(result.data == data)
    #expect(result.end == bytes.count)
  }
}
