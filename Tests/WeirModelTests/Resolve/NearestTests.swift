// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirModel

@Suite("did you mean")
struct NearestTests {
  @Test(
    "the nearest word within a third of its letters",
    arguments: [
      ("timeuot", "timeout"), ("helth", "health"), ("instanses", "instances"), ("AT-ONCE", "at-once"),
      ("ru", "run"), ("xyz", nil), ("", nil), ("unhealthily", nil),
    ] as [(String, String?)])
  func nearest(word: String, wanted: String?) {
    #expect(Nearest.to(word, among: ["timeout", "health", "instances", "at-once", "run"]) == wanted)
  }
}
