// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct MethodBitsTests {
  @Test(
    "each name is its bit, and its name again",
    arguments: [
      ("GET", MethodBits.get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("PATCH", .patch),
      ("OPTIONS", .options), ("CONNECT", .connect), ("TRACE", .trace),
    ])
  func names(name: String, bits: MethodBits) {
    let bytes = Array(name.utf8)
    #expect(MethodBits(name: bytes.span) == bits)
    #expect(bits.names == [name])
  }

  // Methods are case-sensitive, and a prefix or an extension of one is another method.
  @Test("what is not exactly one of them is other", arguments: ["", "get", "GE", "GETS", "PROPFIND", "\u{1}GET"])
  func others(name: String) {
    let bytes = Array(name.utf8)
    #expect(MethodBits(name: bytes.span) == .other)
  }

  @Test("other has no name, the rest is in a fixed order")
  func order() {
    #expect(MethodBits.other.names.isEmpty)
    #expect(
      MethodBits.all.names.joined(separator: ", ") == "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, CONNECT, TRACE")
  }
}
