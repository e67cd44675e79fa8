// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirWire

@Suite struct GRPCWebTests {
  private static func decode(_ parts: [[UInt8]]) -> (bytes: [UInt8], isFine: Bool, isWhole: Bool) {
    var text = GRPCWebText()
    var out: [UInt8] = []
    for part in parts { if !text.decode(part.span, into: &out) { return (out, false, false) } }
    return (out, true, text.isWhole)
  }

  @Test(
    "media types",
    arguments: [
      ("application/grpc-web", false, ""), ("application/grpc-web+proto", false, "+proto"),
      ("Application/gRPC-Web-Text", true, ""), ("application/grpc-web-text+json; q=1", true, "+json; q=1"),
      ("application/grpc-web-text-base64", true, ""),
    ])
  func types(_ value: String, _ isText: Bool, _ rest: String) throws {
    let bytes = Array(value.utf8)
    let parsed = GRPCWebType.parse(bytes.span)
    let type = try #require(parsed)
    #expect(type.isText == isText)
    #expect(String(decoding: bytes[type.rest.range], as: UTF8.self) == rest)
  }

  @Test(
    "other media types",
    arguments: [
      "", "application/grpc", "application/grpc+proto", "application/grpc-webx", "application/grpc-web-textual",
    ])
  func others(_ value: String) {
    let bytes = Array(value.utf8)
    let parsed = GRPCWebType.parse(bytes.span)
    #expect(parsed == nil)
  }

  @Test("Accept: the first of gRPC-Web counts, and one without says nothing")
  func accepts() {
    func isText(_ accept: String) -> Bool? {
      let bytes = Array(accept.utf8)
      return GRPCWebType.first(inAccept: bytes.span)?.isText
    }
    #expect(isText("*/*") == nil)
    #expect(isText("") == nil)
    #expect(isText("application/grpc-web-text") == true)
    #expect(isText("text/html, application/grpc-web+proto;q=0.9,application/grpc-web-text") == false)
  }

  // Every length, so that each kind of padding is there; each cut at every place.
  @Test("text: what is encoded is decoded, in pieces that are cut anywhere")
  func roundTrip() {
    var random = SeededRandom(seed: 11)
    for count in 0..<40 {
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      var text: [UInt8] = []
      GRPCWebText.encode(bytes.span, into: &text)
      #expect(String(decoding: text, as: UTF8.self) == Data(bytes).base64EncodedString())
      // Two pieces, each padded for itself, cut in two.
      let two = text + text
      for cut in 0...two.count {
        let (decoded, isFine, isWhole) = Self.decode([Array(two[..<cut]), Array(two[cut...])])
        #expect(decoded == bytes + bytes && isFine && isWhole)
      }
    }
  }

  @Test(
    "text that is none: white space, other letters, padding where none belongs, bits beyond the last byte",
    arguments: ["AA A", "AAA\n", "A-_A", "=AAA", "A===", "AA=A", "AAAA=", "AB==", "AAB=", "AA==="])
  func refused(_ text: String) { #expect(!Self.decode([Array(text.utf8)]).isFine) }

  @Test("text that ends within a group", arguments: ["A", "AA", "AAA", "AA=", "AAAAA"])
  func cut(_ text: String) {
    let (_, isFine, isWhole) = Self.decode([Array(text.utf8)])
    #expect(isFine && !isWhole)
  }

  @Test("trailers are a frame of their own")
  func frame() {
    var out: [UInt8] = [9]
    let lines = Array("grpc-status: 0\r\n".utf8)
    GRPCWebTrailers.appendFrame(lines.span, to: &out)
    #expect(out == [9, 0x80, 0, 0, 0, 16] + lines)
  }
}
