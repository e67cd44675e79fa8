// SPDX-License-Identifier: Apache-2.0
internal import WeirWire

/// A JSON text as a value that compares as JSON Schema wants it (2020-12 core, §4.2.2): numbers by what they are worth,
/// texts by their characters, objects whatever the order of their members.
///
/// Built in one walk over a text that has been found whole.
enum JSONTree: Sendable, Hashable {
  case null
  case bool(Bool)
  case number(JSONDecimal)
  /// UTF-8; half a surrogate pair, which is no character, has the three bytes that it would have.
  case text([UInt8])
  case array([JSONTree])
  case object(Members)

  /// In the order of the names, each once.
  struct Members: Sendable, Hashable {
    var names: [[UInt8]] = []
    var values: [JSONTree] = []

    subscript(_ name: [UInt8]) -> JSONTree? {
      var low = 0
      var high = names.count
      while low < high {
        let middle = (low + high) / 2
        if names[middle].lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
      }
      return low < names.count && names[low] == name ? values[low] : nil
    }

    subscript(_ name: String) -> JSONTree? { self[Array(name.utf8)] }
  }

  enum Unreadable: Error, Equatable {
    case broken(line: Int, column: Int)
    /// Which of them counts is for every reader to say: none does.
    case twice(name: String)
  }

  init(_ bytes: [UInt8]) throws(Unreadable) {
    let root: JSONView
    do throws(JSONView.Broken) { root = try JSONView(bytes) } catch {
      throw .broken(line: error.line, column: error.column)
    }
    var walker = Walker(bytes: Array(root.raw))
    self = walker.value()
    if let twice = walker.twice { throw .twice(name: twice) }
  }

  /// What it is called in a sentence.
  var words: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let number): number.isInteger ? "a whole number" : "a number"
    case .text: "a text"
    case .array: "a list"
    case .object: "an object"
    }
  }

  /// Reads what is known to be whole, so that every value has its end.
  private struct Walker {
    let bytes: [UInt8]
    var at = 0
    var twice: String?

    mutating func value() -> JSONTree {
      space()
      switch bytes[at] {
      case UInt8(ascii: "{"): return object()
      case UInt8(ascii: "["): return array()
      case UInt8(ascii: "\""): return .text(text())
      case UInt8(ascii: "t"):
        at += 4
        return .bool(true)
      case UInt8(ascii: "f"):
        at += 5
        return .bool(false)
      case UInt8(ascii: "n"):
        at += 4
        return .null
      default:
        let start = at
        while at < bytes.count, !",]} \t\n\r".utf8.contains(bytes[at]) { at += 1 }
        return .number(JSONDecimal(bytes[start..<at]))
      }
    }

    private mutating func space() {
      while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
    }

    private mutating func array() -> JSONTree {
      var items: [JSONTree] = []
      at += 1
      space()
      while bytes[at] != UInt8(ascii: "]") {
        items.append(value())
        space()
        if bytes[at] == UInt8(ascii: ",") { at += 1 }
        space()
      }
      at += 1
      return .array(items)
    }

    private mutating func object() -> JSONTree {
      var members: [(name: [UInt8], value: JSONTree)] = []
      at += 1
      space()
      while bytes[at] != UInt8(ascii: "}") {
        let name = text()
        space()
        at += 1
        members.append((name, value()))
        space()
        if bytes[at] == UInt8(ascii: ",") { at += 1 }
        space()
      }
      at += 1
      members.sort { $0.name.lexicographicallyPrecedes($1.name) }
      for i in members.indices.dropFirst() where members[i].name == members[i - 1].name {
        twice = twice ?? String(decoding: members[i].name, as: UTF8.self)
      }
      return .object(Members(names: members.map(\.name), values: members.map(\.value)))
    }

    private mutating func text() -> [UInt8] {
      var out: [UInt8] = []
      at += 1
      while bytes[at] != UInt8(ascii: "\"") {
        let byte = bytes[at]
        at += 1
        if byte != UInt8(ascii: "\\") {
          out.append(byte)
          continue
        }
        let escape = bytes[at]
        at += 1
        switch escape {
        case UInt8(ascii: "b"): out.append(8)
        case UInt8(ascii: "f"): out.append(12)
        case UInt8(ascii: "n"): out.append(10)
        case UInt8(ascii: "r"): out.append(13)
        case UInt8(ascii: "t"): out.append(9)
        case UInt8(ascii: "u"):
          var code = hex4()
          if code & 0xfc00 == 0xd800, bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u") {
            let back = at
            at += 2
            let low = hex4()
            if low & 0xfc00 == 0xdc00 {
              code = 0x10000 + (code & 0x3ff) << 10 + low & 0x3ff
            } else {
              at = back
            }
          }
          JSONTree.append(code, to: &out)
        default: out.append(escape)
        }
      }
      at += 1
      return out
    }

    private mutating func hex4() -> UInt32 {
      var code: UInt32 = 0
      for _ in 0..<4 {
        let byte = bytes[at]
        code = code << 4 | UInt32(byte < 0x40 ? byte - 0x30 : (byte | 0x20) - 0x57)
        at += 1
      }
      return code
    }
  }

  private static func append(_ code: UInt32, to out: inout [UInt8]) {
    func rest(_ shift: UInt32) -> UInt8 { UInt8(0x80 | code >> shift & 0x3f) }
    switch code {
    case 0..<0x80: out.append(UInt8(code))
    case 0x80..<0x800: out += [UInt8(0xc0 | code >> 6), rest(0)]
    case 0x800..<0x10000: out += [UInt8(0xe0 | code >> 12), rest(6), rest(0)]
    default: out += [UInt8(0xf0 | code >> 18), rest(12), rest(6), rest(0)]
    }
  }
}

/// A JSON number, exact: ± digits × 10^exponent.
struct JSONDecimal: Sendable, Hashable, Comparable {
  /// Zero is not negative.
  private let isNegative: Bool
  /// 0 to 9, neither the first nor the last a zero; none for zero.
  private let digits: [UInt8]
  /// Kept within ±10^12: what lies beyond is equal to what lies there, and nobody will notice.
  private let exponent: Int

  private static let exponentMost = 1_000_000_000_000

  /// The text is a number (RFC 8259 §6).
  init(_ text: some Collection<UInt8>) {
    var digits: [UInt8] = []
    var exponent = 0
    var written = 0
    var isNegative = false
    var isWrittenNegative = false
    var part = 0
    for byte in text {
      switch byte {
      case UInt8(ascii: "-") where part < 2: isNegative = true
      case UInt8(ascii: "-"): isWrittenNegative = true
      case UInt8(ascii: "."): part = 1
      case UInt8(ascii: "e"), UInt8(ascii: "E"): part = 2
      case 0x30...0x39 where part < 2:
        digits.append(byte - 0x30)
        if part == 1 { exponent -= 1 }
      case 0x30...0x39: written = min(JSONDecimal.exponentMost, written * 10 + Int(byte - 0x30))
      default: break
      }
    }
    exponent += isWrittenNegative ? -written : written
    while digits.last == 0 {
      digits.removeLast()
      exponent += 1
    }
    digits = Array(digits.drop { $0 == 0 })
    self.digits = digits
    self.exponent =
      digits.isEmpty ? 0 : min(JSONDecimal.exponentMost, max(-JSONDecimal.exponentMost, exponent))
    self.isNegative = isNegative && !digits.isEmpty
  }

  init(_ value: Int) { self.init(Array("\(value)".utf8)) }

  var isInteger: Bool { exponent >= 0 }

  /// Short enough for a sentence.
  var text: String {
    let sign = isNegative ? "-" : ""
    if digits.isEmpty { return "0" }
    let all = digits.prefix(20).map { "\($0)" }.joined()
    if digits.count > 20 { return "\(sign)\(all)…" }
    switch exponent {
    case 0...15: return sign + all + String(repeating: "0", count: exponent)
    case -digits.count + 1..<0: return "\(sign)\(all.dropLast(-exponent)).\(all.suffix(-exponent))"
    case -15..<0: return "\(sign)0.\(String(repeating: "0", count: -exponent - digits.count))\(all)"
    default: return "\(sign)\(all)e\(exponent)"
    }
  }

  var isPositive: Bool { !isNegative && !digits.isEmpty }

  /// As a count; nil when it is none.
  ///
  /// What no text and no list can have stands as the largest.
  var count: Int? {
    guard isInteger, !isNegative else { return nil }
    if digits.count + exponent > 15 { return .max }
    return digits.reduce(0) { $0 * 10 + Int($1) } * (0..<exponent).reduce(1) { power, _ in power * 10 }
  }

  static func < (a: JSONDecimal, b: JSONDecimal) -> Bool {
    if a.isNegative != b.isNegative { return a.isNegative }
    return a.isNegative ? JSONDecimal.isLess(b, a) : JSONDecimal.isLess(a, b)
  }

  /// Without their signs.
  private static func isLess(_ a: JSONDecimal, _ b: JSONDecimal) -> Bool {
    if a.digits.isEmpty || b.digits.isEmpty { return a.digits.isEmpty && !b.digits.isEmpty }
    let (first, second) = (a.digits.count + a.exponent, b.digits.count + b.exponent)
    return first == second ? a.digits.lexicographicallyPrecedes(b.digits) : first < second
  }

  /// Its digits as a number, for one that others are divided by: nil when it is not positive, or has more than 18.
  var divisor: Divisor? {
    guard isPositive, digits.count <= 18 else { return nil }
    return Divisor(digits: digits.reduce(0) { $0 * 10 + UInt64($1) }, exponent: exponent)
  }

  struct Divisor: Sendable, Equatable {
    var digits: UInt64
    var exponent: Int
  }

  /// Exact, as no division of floating-point numbers is: 0.3 is a multiple of 0.1.
  func isMultiple(of divisor: Divisor) -> Bool {
    if digits.isEmpty { return true }
    // The last digit is no zero, so no power of ten is left to divide by.
    guard exponent >= divisor.exponent else { return false }
    let modulus = divisor.digits
    func times(_ a: UInt64, _ b: UInt64) -> UInt64 {
      let (high, low) = a.multipliedFullWidth(by: b)
      return modulus.dividingFullWidth((high, low)).remainder
    }
    if modulus == 1 { return true }
    var rest: UInt64 = digits.reduce(0) { (times($0, 10) + UInt64($1)) % modulus }
    var power: UInt64 = 10 % modulus
    var times10 = exponent - divisor.exponent
    while times10 > 0 {
      if times10 & 1 == 1 { rest = times(rest, power) }
      power = times(power, power)
      times10 >>= 1
    }
    return rest == 0
  }
}
