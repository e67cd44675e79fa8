// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

extension ScalarType where T == Duration {
  /// `250ms`, `30s`, `14d`: above or at 0, at most ten years.
  static func duration(atLeastZero: Bool = false) -> ScalarType {
    ScalarType(
      words: "a length of time", example: "250ms",
      schema: pattern(#"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d)$"#),
      read: { text in
        let units = [
          "ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
          "h": 3_600_000_000_000, "d": 86_400_000_000_000,
        ]
        guard let (number, unit) = split(text) else { return .wrong(.init()) }
        if unit.isEmpty {
          return number.allSatisfy { $0 == "0" }
            ? .wrong(.init("a length of time needs a unit", mend: "0s"))
            : .wrong(.init("a length of time needs a unit", mend: "\(number)ms or \(number)s"))
        }
        guard let factor = units[String(unit)] else {
          let meant = [
            "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m",
            "minutes": "m", "hour": "h", "hours": "h", "hr": "h", "day": "d", "days": "d", "msec": "ms", "millis": "ms",
            "S": "s", "MS": "ms", "Ms": "ms", "M": "m", "H": "h", "D": "d",
          ][String(unit.drop { $0 == " " })]
          return .wrong(
            .init(
              "'\(unit)' is not a unit of time: ns, us, ms, s, m, h or d stand directly behind the number",
              mend: meant.map { "\(number)\($0)" }))
        }
        guard let nanoseconds = scaled(number, by: factor), nanoseconds <= 3650 * 86_400_000_000_000 else {
          return .wrong(.init("this is finer than a nanosecond or longer than ten years"))
        }
        if nanoseconds == 0 && !atLeastZero { return .wrong(.init("this must be longer than 0")) }
        return .value(.nanoseconds(nanoseconds))
      },
      write: { duration in
        let n = duration.inNanoseconds
        if n == 0 { return "0s" }
        for (unit, factor) in [
          ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
          ("ms", 1_000_000), ("us", 1000),
        ] as [(String, Int64)] where n % factor == 0 { return "\(n / factor)\(unit)" }
        return "\(n)ns"
      })
  }
}
