// SPDX-License-Identifier: Apache-2.0

/// A number and the unit behind it: `1.5` and `s` of `1.5s`.
///
/// Nil if the text does not begin with a number.
func split(_ text: String) -> (number: Substring, unit: Substring)? {
  let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
  let points = number.count { $0 == "." }
  guard let first = number.first, first != ".", number.last != ".", points <= 1 else { return nil }
  return (number, text[number.endIndex...])
}

/// A decimal number times a whole factor, exactly: nil when it is not whole then, or too large.
func scaled(_ number: Substring, by factor: Int) -> Int? {
  let parts = number.split(separator: ".")
  guard let first = parts.first, let whole = Int(first), parts.count <= 2 else { return nil }
  var (result, overflow) = whole.multipliedReportingOverflow(by: factor)
  guard !overflow else { return nil }
  guard parts.count == 2 else { return result }
  var place = factor
  var rest = 0
  for digit in parts[1] {
    guard let value = digit.wholeNumberValue else { return nil }
    if value == 0 {
      place /= 10
      continue
    }
    guard place % 10 == 0 else { return nil }
    place /= 10
    rest += value * place
  }
  (result, overflow) = result.addingReportingOverflow(rest)
  return overflow ? nil : result
}

/// A number without superfluous zeros: at most six places behind the point.
package func plain(_ value: Double) -> String {
  let scaled = (value * 1_000_000).rounded()
  guard scaled.magnitude < 9e15 else { return String(value) }
  let whole = Int(scaled)
  var digits = String(whole.magnitude % 1_000_000)
  digits = String(repeating: "0", count: 6 - digits.count) + digits
  while digits.last == "0" { digits.removeLast() }
  return "\(whole < 0 ? "-" : "")\(whole.magnitude / 1_000_000)\(digits.isEmpty ? "" : ".\(digits)")"
}

/// A text with a form, for the schema.
func pattern(_ regex: String, _ more: (String, JSONValue)...) -> JSONValue {
  .object([("type", .string("string")), ("pattern", .string(regex))] + more)
}

extension ScalarType where T == Double {
  /// `20%`, as 0.2: between 0 and 100 %, the ends as said.
  static func share(zero: Bool = true, most: Double = 1) -> ScalarType {
    ScalarType(
      words: "a share", example: "20%", schema: pattern(#"^[0-9]+(\.[0-9]+)?%$"#),
      read: { text in
        guard let (number, unit) = split(text), let value = Double(number) else { return .wrong(.init()) }
        if unit != "%" {
          let percent = unit.isEmpty && value <= 1 ? plain(value * 100) : String(number)
          return .wrong(.init("a share is written in per cent", mend: "\(percent)%"))
        }
        if value > most * 100 { return .wrong(.init("this is above \(plain(most * 100))%")) }
        if value == 0 && !zero { return .wrong(.init("this must be above 0%")) }
        return .value(value / 100)
      },
      write: { plain($0 * 100) + "%" })
  }

  /// `x5`.
  static var times: ScalarType {
    ScalarType(
      words: "a factor", example: "x5", schema: pattern(#"^x[0-9]+(\.[0-9]+)?$"#),
      read: { text in
        guard text.first == "x", let value = Double(text.dropFirst()), text.dropFirst().first?.isNumber == true,
          value <= 1e6
        else {
          let mend = split(text).map { "x\($0.number)" }
          return .wrong(.init("a factor is written with an x", mend: mend))
        }
        return .value(value)
      },
      write: { "x" + plain($0) })
  }
}

extension ScalarType where T == Int {
  /// A bare number: `3`, `20k`, `1M`.
  static func count(_ range: ClosedRange<Int> = 0...1_000_000_000, words: String = "a number") -> ScalarType {
    ScalarType(
      words: words, example: String(max(range.lowerBound, min(3, range.upperBound))),
      schema: .object([
        (
          "oneOf",
          .array([
            .object([
              ("type", .string("integer")), ("minimum", .int(range.lowerBound)), ("maximum", .int(range.upperBound)),
            ]),
            pattern(#"^[1-9][0-9]*(\.[0-9]+)?[kM]?$"#),
          ])
        )
      ]),
      read: { text in
        guard let (number, unit) = split(text) else { return .wrong(.init()) }
        guard let factor = ["": 1, "k": 1000, "M": 1_000_000][String(unit)] else {
          return .wrong(.init("\(words) stands here, without a unit"))
        }
        guard number.count == 1 || number.first != "0" || number.contains(".") else {
          return .wrong(.init("a number does not begin with 0", mend: String(number.drop { $0 == "0" })))
        }
        guard let value = scaled(number, by: factor) else { return .wrong(.init("a whole number stands here")) }
        guard range.contains(value) else {
          return .wrong(
            .init(
              value < range.lowerBound
                ? "this must be at least \(range.lowerBound)" : "this must be at most \(range.upperBound)"))
        }
        return .value(value)
      },
      write: { String($0) })
  }
}

extension ScalarType where T == Bool {
  static var bool: ScalarType {
    ScalarType(
      words: "true or false", example: "true", schema: .object([("type", .string("boolean"))]),
      read: { text in
        switch text {
        case "true": return .value(true)
        case "false": return .value(false)
        case "True", "TRUE": return .wrong(.init(mend: "true"))
        case "False", "FALSE": return .wrong(.init(mend: "false"))
        default: return .wrong(.init())
        }
      },
      write: { $0 ? "true" : "false" })
  }
}
