// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// Numbers and names as messages write them.
enum Say {
  /// Three digits that count, more if it is whole: `0.0412`, `12.4`, `1500`.
  static func number(_ x: Double) -> String {
    guard x.isFinite else { return x > 0 ? "∞" : "?" }
    if x == 0 { return "0" }
    if abs(x - x.rounded()) < 1e-9 * abs(x) || abs(x) >= 100 {
      return abs(x) < 1e18 ? String(Int(x.rounded())) : "\(x)"
    }
    var scale = 1.0
    while abs(x) * scale < 100 && scale < 1e9 { scale *= 10 }
    var text = String((x * scale).rounded() / scale)
    if text.hasSuffix(".0") { text.removeLast(2) }
    return text
  }

  /// Rounded up; what no integer holds is the largest one, for a chain of calls can multiply without end.
  static func count(atLeast x: Double) -> Int { x < 1e18 ? Int(x.rounded(.up)) : .max }

  static func percent(_ share: Double) -> String { number(share * 100) + "%" }

  static func rate(_ perSecond: Double) -> String { number(perSecond) + "/s" }

  /// `12.4ms`.
  static func time(nanoseconds n: Double) -> String {
    for (unit, factor) in [("d", 86_400e9), ("h", 3600e9), ("m", 60e9)]
    where n >= factor && n.remainder(dividingBy: factor) == 0 {
      return number(n / factor) + unit
    }
    if n >= 1e9 { return number(n / 1e9) + "s" }
    if n >= 1e6 { return number(n / 1e6) + "ms" }
    return n >= 1e3 ? number(n / 1e3) + "us" : number(n) + "ns"
  }

  static func time(_ duration: Duration) -> String { time(nanoseconds: Double(duration.inNanoseconds)) }

  /// `a, b and c`; of many the first two and how many more.
  static func list(_ names: [String]) -> String {
    guard let last = names.last, names.count > 1 else { return names.first ?? "" }
    if names.count > 4 { return names.prefix(2).joined(separator: ", ") + " and \(names.count - 2) others" }
    return names.dropLast().joined(separator: ", ") + " and " + last
  }

  /// `a → b → c`; a long one keeps its ends.
  static func chain(_ names: [String]) -> String {
    if names.count <= 8 { return names.joined(separator: " → ") }
    return (names.prefix(4) + ["… \(names.count - 7) more …"] + names.suffix(3)).joined(separator: " → ")
  }
}

extension Place {
  /// This place if it stands below `other` (or is it): a value that a thing says itself, not one of `defaults`.
  func under(_ other: Place) -> Place? {
    file == other.file && Acceptances.covers(other.path, path) ? self : nil
  }
}
