// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct LastAnswersTests {
  func answer(_ bytes: Int, at seconds: Int64 = 0) -> LastAnswers.Answer {
    LastAnswers.Answer(
      at: Instant(nanoseconds: seconds * 1_000_000_000), head: [1, 2, 3], body: [UInt8](repeating: 7, count: bytes))
  }

  @Test("each key has its own last answer")
  func keys() {
    var last = LastAnswers()
    #expect(last.find([1]) == nil && !last.has([1]))
    last.keep(answer(10), for: [1])
    last.keep(answer(20), for: [2])
    last.keep(answer(30, at: 5), for: [1])
    #expect(last.find([1]) == answer(30, at: 5) && last.find([2]) == answer(20))
    #expect(last.count == 2 && last.violation() == nil)
  }

  @Test("the bound holds; what was renewed longest ago goes first")
  func bound() {
    var settings = LastAnswers.Settings()
    settings.bytesMax = 4096
    var last = LastAnswers(settings)
    last.keep(answer(1500), for: [1])
    last.keep(answer(1500), for: [2])
    last.keep(answer(1500), for: [1])
    last.keep(answer(1500), for: [3])
    #expect(last.has([1]) && !last.has([2]) && last.has([3]))
    last.keep(answer(5000), for: [4])
    #expect(!last.has([4]) && last.has([3]))
    #expect(last.violation() == nil)
  }

  @Test("a long walk", arguments: 0..<20)
  func walk(_ seed: Int) {
    var settings = LastAnswers.Settings()
    settings.bytesMax = 20_000
    var last = LastAnswers(settings)
    var random = SeededRandom(seed: UInt64(seed), stream: "walk")
    for step in 0..<3000 {
      let key = [UInt8(truncatingIfNeeded: random.next() % 40)]
      last.keep(answer(Int(random.next() % 2000)), for: key)
      #expect(last.has(key) && last.violation() == nil, "seed \(seed), step \(step)")
    }
  }
}
