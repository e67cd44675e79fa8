// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct UnitsTests {
  @Test("bytes in binary multiples")
  func bytes() {
    #expect(Bytes.kibi(1).count == 1024)
    #expect(Bytes.mebi(3) == Bytes.kibi(3072))
    #expect(Bytes.gibi(1).count == 1 << 30)
    #expect(Bytes(1) < Bytes(2))
  }

  @Test(
    "the distance of two events",
    arguments: [
      (1, 1_000_000_000), (500, 2_000_000), (3, 333_333_333), (0, .max), (1e-10, .max), (2e9, 1),
    ] as [(Double, Int64)])
  func rate(_ perSecond: Double, _ interval: Int64) {
    #expect(Rate(perSecond: perSecond).intervalNanoseconds == interval)
  }

  @Test("wall times order")
  func wallTime() {
    #expect(WallTime(milliseconds: 1) < WallTime(milliseconds: 2))
  }
}
