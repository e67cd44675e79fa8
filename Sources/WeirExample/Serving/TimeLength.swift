// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A length of time as it is written on a command line or in a fault: `4ms`, `1.5s`, `250us`, `2m`.
package struct TimeLength: Sendable, Equatable, ExpressibleByArgument, Codable {
  package var nanoseconds: Int64

  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  static let zero = TimeLength(nanoseconds: 0)

  package var seconds: Double { Double(nanoseconds) / 1e9 }

  /// Longest unit names first, so that `ms` is not read as `m`.
  private static let units: [(name: String, nanoseconds: Double)] = [
    ("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("ns", 1), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
  ]

  package init?(argument text: String) {
    for unit in TimeLength.units where text.hasSuffix(unit.name) {
      guard let value = Double(text.dropLast(unit.name.count)), value >= 0, value * unit.nanoseconds < 9e18 else {
        return nil
      }
      nanoseconds = Int64((value * unit.nanoseconds).rounded())
      return
    }
    guard text == "0" else { return nil }
    nanoseconds = 0
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let length = TimeLength(argument: text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "'\(text)' is not a length of time such as 250ms or 2s")
    }
    self = length
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package var defaultValueDescription: String { text }

  /// As it would be written: in the largest unit that needs no fraction.
  var text: String {
    if nanoseconds == 0 { return "0" }
    for (name, unit) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)] as [(String, Int64)]
    where nanoseconds.isMultiple(of: unit) {
      return "\(nanoseconds / unit)\(name)"
    }
    return "\(nanoseconds)ns"
  }
}
