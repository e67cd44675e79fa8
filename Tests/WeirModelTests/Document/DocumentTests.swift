// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirModel

@Suite("document")
struct DocumentTests {
  private func bytes(_ text: String, _ range: Range<Int>) -> String {
    String(decoding: Array(text.utf8)[range], as: UTF8.self)
  }

  /// `--fix` will edit by these ranges: they hold the value's text exactly, quotes included, whatever stands around it.
  @Test(
    "byte ranges are exact",
    arguments: [
      ("owner: team\n", "team"), ("owner: \"té am\" # c\n", "\"té am\""), ("owner: 'it''s'\n", "'it''s'"),
      ("owner:   spaced out   \n", "spaced out"), ("owner: one\n  two\n", "one\n  two"),
      ("owner: \"a\\\"b\"\n", "\"a\\\"b\""), ("owner: |\n  block\n  text\n", "|\n  block\n  text"),
    ])
  func ranges(line: String, wanted: String) throws {
    for ends in ["\n", "\r\n"] {
      let text = "weir: 1\n# ü\nsystem: a\n\(line)".replacing("\n", with: ends)
      let design = try #require(read(text: text).design)
      let place = try #require(design.owner?.place)
      #expect(bytes(text, place.value.bytes) == wanted.replacing("\n", with: ends))
      #expect(place.key.map { bytes(text, $0.bytes) } == "owner")
      #expect(place.line == 4)
    }
  }

  @Test("maps and lists end behind their last sign")
  func collections() throws {
    let text = "weir: 1\nsystem: a\nservices: { x: { run: x, at-once: 3 , # c }\n  } }\n"
    let design = try #require(read(text: text).design)
    #expect(bytes(text, design.services[0].name.place.value.bytes) == "{ run: x, at-once: 3 , # c }\n  }")
  }

  @Test("a byte order mark is taken off, and places count behind it")
  func byteOrderMark() throws {
    let result = ModelReader.read(
      path: "a",
      files: .init(
        read: { _ in .success([0xef, 0xbb, 0xbf] + Array("weir: 1\nsystem: a\n".utf8)) }, names: { _ in nil }))
    #expect(result.design?.system.place?.key?.bytes == 8..<14)
  }

  @Test("too large, too deep, UTF-16: refused with a sentence")
  func bounds() {
    func ids(_ bytes: [UInt8]) -> [String] {
      ModelReader.read(path: "a", files: .init(read: { _ in .success(bytes) }, names: { _ in nil })).diagnostics.map(
        \.id)
    }
    #expect(ids([UInt8](repeating: 0x23, count: 1 << 21)) == ["file-too-large"])
    #expect(
      ids(
        Array("weir: 1\nsystem: a\nx: \(String(repeating: "[", count: 80))\(String(repeating: "]", count: 80))\n".utf8)
      ).contains("too-deep"))
    #expect(ids(Array(String(repeating: "[", count: 100_000).utf8)) == ["syntax"])
    #expect(ids([0xff, 0xfe, 0x61, 0]) == ["not-utf8"])
  }

  /// CK-8: files broken at random.
  ///
  /// No crash; every error has a line of its file; whatever is said stands in its bytes.
  @Test("ten thousand mutated files: no crash, each error has a line")
  func mutations() throws {
    var random = SeededRandom(seed: 17)
    let originals = try [text("examples/webapp/weir.yaml"), text("examples/full/weir.yaml")].map { Array($0.utf8) }
    let signs = Array("{}[]:,-#&*!|>'\"%@` \n\t\r0123456789abzZ~<?.$()/é".utf8)
    // The whole count in release; in a debug build, ten times slower, a tenth.
    #if DEBUG
      let count = 1_000
    #else
      let count = 10_000
    #endif
    for round in 0..<count {
      var bytes = originals[round % 3 == 0 ? 1 : 0]
      for _ in 0...random.index(below: 4) {
        let at = random.index(below: bytes.count)
        switch random.index(below: 5) {
        case 0: bytes.remove(at: at)
        case 1: bytes.insert(signs[random.index(below: signs.count)], at: at)
        case 2: bytes[at] = signs[random.index(below: signs.count)]
        case 3: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        default:
          let end = min(bytes.count, at + random.index(below: 40))
          let part = Array(bytes[at..<end])
          bytes.insert(contentsOf: part, at: random.index(below: bytes.count))
        }
      }
      let mutated = bytes
      let result = ModelReader.read(
        path: "weir.yaml",
        files: .init(
          read: { path in path == "weir.yaml" ? .success(mutated) : .failure(.init("no")) }, names: { _ in [] }))
      let source = try #require(result.sources.first)
      #expect(result.design != nil || !result.diagnostics.isEmpty, "round \(round)")
      for diagnostic in result.diagnostics {
        let isThere = source.line(diagnostic.line) != nil && diagnostic.spot.bytes.upperBound <= source.text.utf8.count
        #expect(isThere && diagnostic.column >= 1 && !diagnostic.message.isEmpty, "round \(round): \(diagnostic)")
      }
      if let design = result.design {
        #expect(Plan(design).routes.count == design.gateways.first?.routes.count ?? 0)
      }
    }
  }
}
