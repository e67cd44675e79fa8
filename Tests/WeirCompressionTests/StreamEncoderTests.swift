// SPDX-License-Identifier: Apache-2.0
import TestPrograms
import Testing
import WeirCompression

/// What comes out must be read by others: the system's own tools take it apart.
@Suite struct StreamEncoderTests {
  static let text = Array(String(repeating: "The quick brown fox jumps over the lazy dog. ", count: 4000).utf8)

  static func encode(_ pieces: [[UInt8]], _ coding: StreamEncoder.Coding, flush: StreamEncoder.Flush) throws
    -> [[UInt8]]
  {
    let encoder = try #require(StreamEncoder(coding))
    return try encode(pieces, encoder, flush: flush)
  }

  static func encode(_ pieces: [[UInt8]], _ encoder: StreamEncoder, flush: StreamEncoder.Flush) throws -> [[UInt8]] {
    var room = [UInt8](repeating: 0, count: 512)
    var out: [[UInt8]] = []
    for (index, piece) in pieces.enumerated() {
      var part: [UInt8] = []
      try piece.withUnsafeBytes { input in
        try room.withUnsafeMutableBytes { room in
          try encoder.encode(input, index == pieces.count - 1 ? .end : flush, through: room) {
            part.append(contentsOf: $0)
          }
        }
      }
      out.append(part)
    }
    return out
  }

  static func decode(_ bytes: [UInt8], _ coding: StreamEncoder.Coding) throws -> [UInt8]? {
    let tool =
      switch coding {
      case .gzip: "gzip"
      case .brotli: "brotli"
      case .zstd: "zstd"
      }
    return try TestProgram.unpacked(bytes, by: tool)
  }

  @Test(
    "a stream in pieces is one stream, smaller, and read by the tool of its kind",
    arguments: StreamEncoder.Coding.allCases)
  func pieces(_ coding: StreamEncoder.Coding) throws {
    let pieces = [Array(Self.text[..<10]), [], Array(Self.text[10..<70_000]), Array(Self.text[70_000...]), []]
    for flush in [StreamEncoder.Flush.none, .block] {
      let out = try Self.encode(pieces, coding, flush: flush).flatMap { $0 }
      #expect(out.count < Self.text.count / 20)
      if let read = try Self.decode(out, coding) { #expect(read == Self.text) }
    }
    let empty = try Self.encode([[]], coding, flush: .none).flatMap { $0 }
    if let read = try Self.decode(empty, coding) { #expect(read == []) }
  }

  @Test("after a flush all that was given has come out", arguments: StreamEncoder.Coding.allCases)
  func flush(_ coding: StreamEncoder.Coding) throws {
    let pieces = (0..<20).map { Array("data: event \($0)\n\n".utf8) } + [[]]
    let flushed = try Self.encode(pieces, coding, flush: .block)
    #expect(flushed.dropLast().allSatisfy { !$0.isEmpty })
    let held = try Self.encode(pieces, coding, flush: .none)
    #expect(held.dropFirst().dropLast().contains { $0.isEmpty })
  }

  @Test("one encoder serves stream after stream", arguments: StreamEncoder.Coding.allCases)
  func again(_ coding: StreamEncoder.Coding) throws {
    let encoder = try #require(StreamEncoder(coding))
    let first = try Self.encode([Self.text], encoder, flush: .none)
    #expect(encoder.reset())
    #expect(try Self.encode([Self.text], encoder, flush: .none) == first)
    // Also from the middle of one that was given up.
    #expect(encoder.reset())
    var room = [UInt8](repeating: 0, count: 4096)
    try Self.text.withUnsafeBytes { input in
      try room.withUnsafeMutableBytes { try encoder.encode(input, .none, through: $0) { _ in } }
    }
    #expect(encoder.reset())
    #expect(try Self.encode([Self.text], encoder, flush: .none) == first)
    #expect(StreamEncoder.whole(Self.text, coding) == first.flatMap { $0 })
  }
}
