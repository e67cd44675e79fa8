// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

/// What is put into another text must be one text itself, to the last byte.
@Suite struct JSONTextTests {
  @Test(
    "texts",
    arguments: [
      "1", "-0.5e+10", "0", "\"\"", "\"a\\u00e9\\n\"", "\"ä€😀\"", "[]", "{}", "[1,2,[3]]",
      "{\"a\":{\"b\":[null,true,false]}}",
      " \n{ \"a\" : 1 }\t\r", "1E5",
    ])
  func whole(_ text: String) {
    let bytes = Array(text.utf8)
    let isWhole = JSONText.isWhole(bytes.span)
    #expect(isWhole, "\(text)")
  }

  @Test(
    "no texts",
    arguments: [
      "", " ", "{", "}", "[1,]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "01", "1.", ".5", "+1", "1e", "--1", "TRUE",
      "True", "nul",
      "nulls", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "1 2", "1,2", "[1]}", "{\"a\":1}}", "\"a\" \"b\"", "{\"a\":}",
      "[",
    ])
  func broken(_ text: String) {
    let bytes = Array(text.utf8)
    let isWhole = JSONText.isWhole(bytes.span)
    #expect(!isWhole, "\(text)")
  }

  @Test("bytes that are no UTF-8, and depth without end")
  func hostile() {
    for bytes: [UInt8] in [
      [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe2, 0x82, 0x22],
    ] {
      let isWhole = JSONText.isWhole(bytes.span)
      #expect(!isWhole)
    }
    let deep = [UInt8](repeating: UInt8(ascii: "["), count: 100_000)
    let deepIsWhole = JSONText.isWhole(deep.span)
    #expect(!deepIsWhole)
    let fine = Array((String(repeating: "[", count: 100) + String(repeating: "]", count: 100)).utf8)
    let fineIsWhole = JSONText.isWhole(fine.span)
    #expect(fineIsWhole)
  }
}
