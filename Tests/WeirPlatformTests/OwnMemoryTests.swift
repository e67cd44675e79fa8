// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirPlatform

@Suite struct OwnMemoryTests {
  /// What the C library tells is near the truth: a block of 256 MiB is seen to come and to go.
  @Test("the heap's own count follows what is held")
  func follows() throws {
    let own = OwnMemory()
    guard let before = own.held else { return }
    let size = 256 << 20
    var block: [UInt8]? = [UInt8](repeating: UInt8.random(in: 1...9), count: size)
    let with = try #require(own.held)
    #expect(block?.last.map { $0 > 0 } == true)
    block = nil
    let after = try #require(own.held)
    // Other tests of this process come and go meanwhile.
    #expect(with - before > size / 2)
    #expect(with - after > size / 2)
    OwnMemory.trim()
    #expect((OwnMemory.resident ?? 0) > 0)
  }
}
