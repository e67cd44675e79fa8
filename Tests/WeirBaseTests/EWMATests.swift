// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct EWMATests {
  /// 2^−x by the series of e^(−x·ln 2): 30 terms are exact to the last bit for x < 1.
  private func exact(_ x: Double) -> Double {
    let whole = x.rounded(.down)
    var term = 1.0
    var sum = 1.0
    for n in 1...30 {
      term *= -(x - whole) * 0.693_147_180_559_945_3 / Double(n)
      sum += term
    }
    return sum * Double(sign: .plus, exponent: -Int(whole), significand: 1)
  }

  /// A mean of 1 that takes a 0 becomes the weight itself.
  @Test("the weight is within 1.5·10⁻⁴ of 2^(−x)")
  func weight() {
    var worst = 0.0
    let halfLife: Int64 = 1_000_000
    for step in 0...8000 {
      let elapsed = Int64(step) * 1000
      var mean = EWMA()
      mean.add(1, halfLife: halfLife, now: .zero)
      mean.add(0, halfLife: halfLife, now: Instant(nanoseconds: elapsed))
      worst = max(worst, abs(mean.value - exact(Double(step) / 1000)))
    }
    #expect(worst < 1.5e-4)
    #expect(worst > 1e-6)
  }

  @Test("the first sample replaces the start value; a peak can be taken at once")
  func first() {
    var mean = EWMA(50)
    #expect(mean.value == 50)
    mean.add(10, halfLife: 1000, now: Instant(nanoseconds: 5))
    #expect(mean.value == 10)
    mean.add(20, halfLife: 1000, now: Instant(nanoseconds: 1005))
    #expect(abs(mean.value - 15) < 1e-9)
    mean.jump(to: 99, now: Instant(nanoseconds: 1006))
    #expect(mean.value == 99)
  }

  @Test("fades to nothing, forgets at once without a half-life, and keeps at no distance")
  func edges() {
    var mean = EWMA()
    mean.add(8, halfLife: 1000, now: .zero)
    #expect(mean.faded(halfLife: 1000, now: .zero) == 8)
    #expect(abs(mean.faded(halfLife: 1000, now: Instant(nanoseconds: 3000)) - 1) < 1e-9)
    #expect(mean.faded(halfLife: 1000, now: Instant(nanoseconds: 60_000)) == 0)
    mean.add(3, halfLife: 0, now: Instant(nanoseconds: 1))
    #expect(mean.value == 3)
    mean.add(100, halfLife: 1000, now: Instant(nanoseconds: 1))
    #expect(mean.value == 3)
  }
}
