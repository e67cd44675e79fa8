// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

@Suite struct WallTimeTextTests {
  // Known instants, leap days and the edges of a day from both sides.
  @Test(
    "writes RFC 3339 in UTC",
    arguments: [
      (Int64(0), "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
      (951_782_399_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
      (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (1_795_254_461_123, "2026-11-21T09:47:41.123Z"),
    ])
  func known(milliseconds: Int64, text: String) {
    #expect(WallTime(milliseconds: milliseconds).rfc3339 == text)
  }

  @Test("a stamp is read as it was written, to the second; nothing else is one")
  func stamps() {
    #expect(WallTime(milliseconds: 1_795_254_461_123).stamp == "20261121T094741Z")
    for milliseconds: Int64 in [0, 951_782_399_000, 951_782_400_000, 1_709_251_199_000, 4_107_542_400_000] {
      let time = WallTime(milliseconds: milliseconds)
      #expect(WallTime(stamp: time.stamp) == time)
    }
    for text in [
      "", "20261121T094741", "20261121T094741Y", "20260231T000000Z", "2026112xT094741Z", "20261121T246041Z",
      "20261321T094741Z", "-0261121T094741Z", "2026-11-21T09:47Z",
    ] {
      #expect(WallTime(stamp: text) == nil, "\(text)")
    }
  }
}
