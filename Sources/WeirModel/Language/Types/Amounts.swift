// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

extension ScalarType where T == Bytes {
  /// `10KiB`, `1GiB`, and `B`, `KB`, `MB`, `GB` of a thousand.
  static var bytes: ScalarType {
    ScalarType(
      words: "a size", example: "10MiB", schema: pattern(#"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)$"#),
      read: { text in
        let units = [
          "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 1000, "MB": 1_000_000,
          "GB": 1_000_000_000, "TB": 1_000_000_000_000,
        ]
        guard let (number, unit) = split(text) else { return .wrong(.init()) }
        guard let factor = units[String(unit)] else {
          return .wrong(.init("a size needs one of the units B, KiB, MiB, GiB, TiB", mend: "\(number)MiB"))
        }
        guard let count = scaled(number, by: factor), count > 0 else {
          return .wrong(.init("this is not a whole number of bytes above 0"))
        }
        return .value(Bytes(count))
      },
      write: { bytes in
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        where bytes.count != 0 && bytes.count % (1 << shift) == 0 { return "\(bytes.count >> shift)\(unit)" }
        return "\(bytes.count)B"
      })
  }
}

extension ScalarType where T == Rate {
  /// `100/s`, `5/min`, `2k/s`.
  static var rate: ScalarType {
    ScalarType(
      words: "a rate", example: "100/s", schema: pattern(#"^[0-9]+(\.[0-9]+)?[kM]?/(s|min|h|d)$"#),
      read: { text in
        guard let (number, rest) = split(text) else { return .wrong(.init()) }
        var tail = rest
        var times = 1.0
        if tail.first == "k" { times = 1000 }
        if tail.first == "M" { times = 1_000_000 }
        if times > 1 { tail = tail.dropFirst() }
        let units = ["/s": 1.0, "/min": 60, "/h": 3600, "/d": 86400]
        guard let seconds = units[String(tail)] else {
          let mend = ["/sec": "/s", "/second": "/s", "/m": "/min", "/minute": "/min", "rps": "/s", "": "/s"][
            String(tail)]
          return .wrong(
            .init(
              "a rate says per what: /s, /min, /h or /d",
              mend: mend.map { "\(number)\(rest.prefix(times > 1 ? 1 : 0))\($0)" }))
        }
        guard let value = Double(number), value > 0, value * times / seconds <= 1e9 else {
          return .wrong(.init("a rate is above 0 and at most a thousand million a second"))
        }
        return .value(Rate(perSecond: value * times / seconds))
      },
      write: { rate in
        for (unit, seconds) in [("/s", 1.0), ("/min", 60), ("/h", 3600), ("/d", 86400)] {
          let value = rate.perSecond * seconds
          if abs(value - value.rounded()) < 1e-9 * value, value.rounded() >= 1 { return plain(value.rounded()) + unit }
        }
        return plain(rate.perSecond) + "/s"
      })
  }
}
