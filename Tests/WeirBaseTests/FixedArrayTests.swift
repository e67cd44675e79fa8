// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct FixedArrayTests {
  @Test("compares element by element and is copied by value")
  func compares() {
    var a = FixedArray<4, Int>(repeating: 7)
    let b = a
    #expect(a == b)
    for i in a.indices {
      a[i] += 1
      #expect(a != b)
      a[i] -= 1
    }
    #expect(a == b && a.indices == 0..<4)
  }
}
