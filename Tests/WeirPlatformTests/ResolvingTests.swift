// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirPlatform

@Suite struct ResolvingTests {
  @Test("a name that every machine knows has addresses, and numbers are their own")
  func known() throws {
    let found = try Resolving.addresses(of: "localhost")
    #expect(found.contains("127.0.0.1") || found.contains("::1"))
    #expect(try Resolving.addresses(of: "127.0.0.1") == ["127.0.0.1"])
  }

  /// `.invalid` is reserved: no resolver knows a name in it (RFC 2606).
  @Test("a name that nobody knows says why it has none")
  func unknown() {
    #expect(throws: Resolving.Failure.self) { try Resolving.addresses(of: "nobody.weir.invalid") }
  }
}
