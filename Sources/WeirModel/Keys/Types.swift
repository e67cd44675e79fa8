// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

// The types of scalars: durations, sizes, rates, shares, counts, names, texts.

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

private func pattern(_ regex: String, _ more: (String, JSONValue)...) -> JSONValue {
  .object([("type", .string("string")), ("pattern", .string(regex))] + more)
}

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

extension ScalarType where T: CaseIterable & RawRepresentable, T.RawValue == String {
  /// One of a closed list of words.
  static var word: ScalarType {
    let words = T.allCases.map(\.rawValue)
    return ScalarType(
      words: words.count == 1 ? words[0] : "one of \(words.joined(separator: ", "))", example: words.first ?? "",
      schema: .object([("enum", .array(words.map { .string($0) }))]),
      read: { text in T(rawValue: text).map { .value($0) } ?? .wrong(.init()) },
      write: { $0.rawValue })
  }
}

extension ScalarType where T == Day {
  static var day: ScalarType {
    ScalarType(
      words: "a day in quotes", example: "\"2027-06-30\"", schema: pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
      read: { text in
        if let day = Day(text) { return .value(day) }
        return .wrong(.init("a day is written \"2027-06-30\", and must exist"))
      },
      write: { "\"\($0.text)\"" })
  }
}

extension ScalarType where T == String {
  /// Any text that is not empty.
  static func text(_ words: String = "text", example: String = "text") -> ScalarType {
    ScalarType(
      words: words, example: example,
      schema: .object([("type", .array([.string("string"), .string("number"), .string("boolean")]))]),
      read: { $0.isEmpty ? .wrong(.init("\(words) stands here, and it is empty")) : .value($0) },
      write: { yamlScalar($0) })
  }

  /// Text that must pass a test.
  static func text(
    _ words: String, example: String, pattern regex: String, problem: @escaping @Sendable (String) -> String?
  ) -> ScalarType {
    ScalarType(
      words: words, example: example, schema: pattern(regex),
      read: { text in problem(text).map { .wrong(.init($0)) } ?? .value(text) }, write: { yamlScalar($0) })
  }

  /// The path of a route: `*` is one part, `**` the rest, also none.
  ///
  /// `RoutePattern` decides, as it will when it routes.
  static var routePath: ScalarType {
    .text("a path", example: "/api/**", pattern: "^/[^{}?# ]*$") { text in
      do throws(RoutePattern.Mistake) {
        _ = try RoutePattern(path: text)
        return nil
      } catch {
        return error.description
      }
    }
  }

  /// The path of one request: `/healthz`.
  static var urlPath: ScalarType {
    .text("a path", example: "/healthz", pattern: "^/[^# ]*$") { text in
      if text.first != "/" { return "a path begins with /" }
      if text.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value >= 0x7f }) {
        return "a path is written in ASCII without spaces; other characters are percent-encoded"
      }
      return nil
    }
  }

  /// A name given to a thing of the file.
  static var name: ScalarType {
    .text("a name", example: "shop", pattern: namePattern) { nameProblem($0) }
  }

  /// A host name, or `*.` and one.
  static var host: ScalarType {
    .text("a host name", example: "shop.example", pattern: #"^(\*\.)?[^ /:*]+$"#) { text in
      do throws(RoutePattern.Mistake) {
        _ = try RoutePattern(path: "/", host: text)
        return nil
      } catch {
        return error.description
      }
    }
  }

  /// A network: `10.0.0.0/8`, `::1`.
  static var network: ScalarType {
    .text("a network", example: "10.0.0.0/8", pattern: #"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"#) { text in
      CIDR.isValid(text) ? nil : "a network is written 10.0.0.0/8 or fd00::/8, an address 10.0.0.1"
    }
  }

  /// The address that a listener binds.
  static var address: ScalarType {
    .text("an address", example: "127.0.0.1", pattern: #"^([0-9a-fA-F:.]+|localhost)$"#) { text in
      text == "localhost" || (CIDR.isValid(text) && !text.contains("/"))
        ? nil : "a listener binds an address of this machine: 0.0.0.0, 127.0.0.1, ::1"
    }
  }

  /// A method of HTTP, in capitals.
  static var method: ScalarType {
    .text("a method", example: "GET", pattern: "^[A-Z]+$") { text in
      methodNames.contains(text)
        ? nil : "a method is one of \(methodNames.joined(separator: ", ")), in capitals"
    }
  }
}

/// RFC 9110 §9 and RFC 5789; CONNECT is not routed.
let methodNames = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

let namePattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

/// Names become environment variables, host names and labels of metrics: lower case letters, digits and dashes fit all.
func nameProblem(_ text: String) -> String? {
  let fine =
    !text.isEmpty && text.utf8.count <= 63 && text.first != "-" && text.last != "-"
    && text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
  return fine
    ? nil : "a name has lower case letters, digits and dashes, at most 63, and does not begin or end with a dash"
}

extension ScalarType where T == Text {
  /// Text in which `$(env:NAME)`, `$(secret:name)` and `$(file:path)` are read at run time.
  static func reference(_ words: String, example: String) -> ScalarType {
    ScalarType(
      words: words, example: example,
      schema: .object([("type", .array([.string("string"), .string("number"), .string("boolean")]))]),
      read: { text in
        switch Text.parse(text) {
        case .success(let parsed): .value(parsed)
        case .failure(let mistake): .wrong(.init(mistake.message))
        }
      },
      write: { yamlScalar($0.raw) })
  }

  /// `host:port`.
  static var endpoint: ScalarType {
    ScalarType(
      words: "an address", example: "db1:5432", schema: pattern(#"^([^ ]+:[0-9]{1,5}|\$\(.*)$"#),
      read: { text in
        let parsed: Text
        switch Text.parse(text) {
        case .success(let value): parsed = value
        case .failure(let mistake): return .wrong(.init(mistake.message))
        }
        guard parsed.isLiteral else { return .value(parsed) }
        if text.contains("://") { return .wrong(.init("an address is host:port, without a scheme")) }
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
          (1...65535).contains(port), colon != text.startIndex
        else { return .wrong(.init("an address is host:port", mend: "\"\(text):8080\"")) }
        return .value(parsed)
      },
      write: { yamlScalar($0.raw) })
  }
}

extension Text {
  package struct Mistake: Error {
    package var message: String
  }

  /// Finds the references in a text.
  ///
  /// `$(` begins one; `$NAME` and everything else stand for themselves.
  package static func parse(_ raw: String) -> Result<Text, Mistake> {
    if raw.isEmpty { return .failure(Mistake(message: "text stands here, and it is empty")) }
    var parts: [Part] = []
    var literal = ""
    var rest = Substring(raw)
    while let dollar = rest.firstIndex(of: "$") {
      literal += rest[..<dollar]
      let behind = rest.index(after: dollar)
      guard behind < rest.endIndex, rest[behind] == "(" else {
        literal.append("$")
        rest = rest[behind...]
        continue
      }
      guard let end = rest[behind...].firstIndex(of: ")") else {
        return .failure(Mistake(message: "'$(' is opened and never closed: $(env:NAME), $(secret:name), $(file:path)"))
      }
      let inside = rest[rest.index(after: behind)..<end]
      let pieces = inside.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard pieces.count == 2, !pieces[1].isEmpty else {
        return .failure(
          Mistake(message: "'$(\(inside))' says not where from: $(env:NAME), $(secret:name), $(file:path)"))
      }
      if !literal.isEmpty { parts.append(.literal(literal)) }
      literal = ""
      switch pieces[0] {
      case "env": parts.append(.env(String(pieces[1])))
      case "secret": parts.append(.secret(String(pieces[1])))
      case "file": parts.append(.file(String(pieces[1])))
      default:
        return .failure(
          Mistake(message: "'$(\(pieces[0]):…)' is not known: $(env:NAME), $(secret:name), $(file:path)"))
      }
      rest = rest[rest.index(after: end)...]
    }
    literal += rest
    if !literal.isEmpty { parts.append(.literal(literal)) }
    return .success(Text(raw: raw, parts: parts))
  }
}

/// Addresses and networks, as text.
enum CIDR {
  static func isValid(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard let address = parts.first, parts.count <= 2 else { return false }
    let most: Int
    if isIPv4(address) { most = 32 } else if isIPv6(address) { most = 128 } else { return false }
    guard parts.count == 2 else { return true }
    guard let length = Int(parts[1]), !parts[1].isEmpty, parts[1].allSatisfy(\.isNumber) else { return false }
    return (0...most).contains(length)
  }

  private static func isIPv4(_ text: Substring) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4
      && parts.allSatisfy { part in
        guard let value = Int(part), part.allSatisfy({ $0.isASCII && $0.isNumber }) else { return false }
        return value <= 255 && (part.count == 1 || part.first != "0")
      }
  }

  /// RFC 4291 §2.2, without the form that ends in dotted decimals.
  private static func isIPv6(_ text: Substring) -> Bool {
    guard text.contains(":"), text.allSatisfy({ $0 == ":" || $0.isHexDigit && $0.isASCII }) else { return false }
    var doubled = 0
    var previous: Character = " "
    var colons = 0
    for character in text {
      if character == ":" {
        colons += 1
        if previous == ":" { doubled += 1 }
      }
      previous = character
    }
    if text.contains(":::") || doubled > 1 { return false }
    let groups = text.split(separator: ":")
    guard groups.allSatisfy({ $0.count <= 4 }) else { return false }
    let edgesFine = doubled == 1 || (text.first != ":" && text.last != ":")
    return edgesFine && (doubled == 1 ? groups.count <= 7 : groups.count == 8 && colons == 7)
  }
}

/// A text as YAML writes it: plain where every reader takes it alike, else in double quotes.
package func yamlScalar(_ text: String) -> String {
  let plainFirst = text.first.map { !"!&*-?[]{}|>@`%\"'#:,= ".contains($0) } ?? false
  let risky =
    text.contains(": ") || text.contains(" #") || text.hasSuffix(":") || text.hasSuffix(" ")
    || text.contains(where: { "[]{},\"\\".contains($0) })
    || text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f })
  let looksElse =
    Lookalike.problem(of: text) != nil || Double(text) != nil
    || ["null", "~", "true", "false"].contains(text.lowercased())
  return plainFirst && !risky && !looksElse ? text : JSONValue.quoted(text)
}

/// Plain scalars that some reader takes for something else than text.
enum Lookalike {
  /// What an old reader makes of it, and how it is written instead; nil if all readers agree.
  static func problem(of text: String) -> (message: String, mend: String)? {
    switch text.lowercased() {
    case "yes", "on":
      return ("'\(text)' is true for some readers of YAML and text for others", "true, or \"\(text)\" for the word")
    case "no", "off":
      return ("'\(text)' is false for some readers of YAML and text for others", "false, or \"\(text)\" for the word")
    default: break
    }
    if isDate(text) {
      return ("a date without quotes is a date for some readers of YAML and text for others", "\"\(text)\"")
    }
    if isSexagesimal(text) {
      return ("'\(text)' is a number of base 60 for some readers of YAML and text for others", "\"\(text)\"")
    }
    return nil
  }

  /// `2027-06-30` and everything that goes on like that.
  private static func isDate(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count >= 8, bytes[0..<4].allSatisfy({ (48...57).contains($0) }), bytes[4] == 45 else { return false }
    let parts = text.split(separator: "-", maxSplits: 2)
    guard parts.count == 3 else { return false }
    let month = parts[1]
    let day = parts[2].prefix { $0.isNumber }
    return (1...2).contains(month.count) && month.allSatisfy(\.isNumber) && (1...2).contains(day.count)
  }

  private static func isSexagesimal(_ text: String) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 2, let first = parts.first, !first.isEmpty, first.allSatisfy({ $0.isASCII && $0.isNumber })
    else { return false }
    return parts.dropFirst().allSatisfy { part in
      guard let value = Int(part) else { return false }
      return value < 60 && part.count <= 2
    }
  }
}
