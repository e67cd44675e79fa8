// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

extension ScalarType where T == Duration {
  /// `"02:55"`: hours and minutes since midnight.
  static var timeOfDay: ScalarType {
    ScalarType(
      words: "a time of day", example: "\"02:55\"", schema: pattern("^([01][0-9]|2[0-3]):[0-5][0-9]$"),
      read: { text in
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
          parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (48...57).contains($0) } }),
          let hour = Int64(parts[0]), let minute = Int64(parts[1]), hour < 24, minute < 60
        else {
          return .wrong(.init("a time of day has two digits for the hour and two for the minute", mend: "\"02:55\""))
        }
        return .value(.seconds(hour * 3600 + minute * 60))
      },
      write: { time in
        let minutes = time.inNanoseconds / 60_000_000_000
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\"\(two(minutes / 60)):\(two(minutes % 60))\""
      })
  }
}
