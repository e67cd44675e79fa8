// SPDX-License-Identifier: Apache-2.0

/// What a route matches: a host, a path, methods and conditions, as the file writes them, checked and taken apart.
///
/// Path: parts between slashes, each a literal, `*` (exactly one part, not empty) or, last only, `**` (the rest, also
/// none). `/a/**` takes `/a`, `/a/` and `/a/b/c`; `/a/*` takes `/a/b` only; `/a` and `/a/` are two paths.
/// Host: any, exact, or `*.x`, which takes one label or more before `x` (as Gateway API's `HTTPRoute` hostnames).
/// Methods: none given means any.
///
/// ## Which is more specific
/// First the host: exact, then the longer `*.x`, then any. Then the path, part by part from the left: literal, `*`, end,
/// `**`.
/// Then the methods: given, then any. Then the conditions: more of headers, cookies and media types, more of the query,
/// more `equals`, more bytes that prefixes and suffixes ask for. Two patterns that no rule tells apart and that one
/// request can match are a tie; those that no request matches both (`x-v: 1` and `x-v: 2`) are none.
public struct RoutePattern: Sendable, Equatable {
  /// Why a pattern cannot be used; its description is a sentence for the user.
  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case pathWithoutSlash(path: String)
    case emptyPart(path: String)
    case restNotLast(path: String)
    case partialWildcard(part: String, path: String)
    case braces(part: String, path: String)
    case dotSegment(part: String, path: String)
    case queryInPath(path: String)
    case badEscape(path: String)
    case badCharacter(path: String)
    case tooManyParts(path: String)
    case badHost(host: String)
    case emptyName
    case emptyText(name: String)
    case mediaTypeTest(header: String)
    case contradiction(name: String)
    case tooManyConditions
    case tooManySubjects
    case tooManyValues
    case tooManyTexts

    public var description: String {
      switch self {
      case .pathWithoutSlash(let path): "the path “\(path)” does not begin with /"
      case .emptyPart(let path): "the path “\(path)” has an empty part (//)"
      case .restNotLast(let path):
        "in “\(path)” ** is not the last part; it takes the rest, so nothing can follow it"
      case .partialWildcard(let part, let path):
        "in “\(path)” the part “\(part)” mixes * with other characters; * stands for one whole part, ** for the rest"
      case .braces(let part, let path):
        "in “\(path)” write * instead of “\(part)”: one part of any name"
      case .dotSegment(let part, let path):
        "the path “\(path)” has a “\(part)” part, which no request can have"
      case .queryInPath(let path): "the path “\(path)” has a ? or #; a route matches the path only"
      case .badEscape(let path):
        "the path “\(path)” has a % that two hexadecimal digits do not follow"
      case .badCharacter(let path):
        "the path “\(path)” has a space, a control or a non-ASCII character; percent-encode it"
      case .tooManyParts(let path):
        "the path “\(path)” has more than \(RoutePattern.partsMax) parts"
      case .badHost(let host):
        "the host “\(host)” is not a name, an address or *.name (without a scheme, a port or other wildcards)"
      case .emptyName: "a condition needs the name of a header, cookie or query parameter"
      case .emptyText(let name):
        "the condition on “\(name)” asks for an empty beginning or end; ask whether it is present"
      case .mediaTypeTest(let header): "a media type of “\(header)” can only be asked to equal one"
      case .contradiction(let name): "two conditions on “\(name)” cannot both hold: no request would match"
      case .tooManyConditions: "a route has more than \(RoutePattern.conditionsMax) conditions"
      case .tooManySubjects:
        "the routes ask for more than \(RouteConditions.subjectsMax) different headers, cookies and query parameters"
      case .tooManyValues: "the routes compare with more than \(RouteConditions.valuesMax) different values"
      case .tooManyTexts:
        "the routes ask for more than \(RouteConditions.partsMax) different beginnings, ends and media types"
      }
    }
  }

  enum Part: Sendable, Equatable {
    /// Normalised bytes; empty only as the last one, for a trailing slash.
    case literal([UInt8])
    case one
    case rest
  }

  enum Host: Sendable, Equatable {
    case any
    /// Lower case, without a trailing dot.
    case exact([UInt8])
    /// `*.x`, kept as `x`.
    case under([UInt8])
  }

  /// More parts than any path in use; bounds the depth of a match.
  static let partsMax = 64
  /// More than any route in use; Gateway API allows 16 of headers and 16 of the query.
  static let conditionsMax = 32

  /// As the file writes it.
  public let path: String
  let host: Host
  let parts: [Part]
  /// Empty means any.
  public let methods: MethodBits
  /// Without repetitions.
  public let conditions: [RouteCondition]

  /// Takes a pattern apart.
  ///
  /// `host` nil or `*` is any host; `methods` empty is any method.
  public init(
    path: String, host: String? = nil, methods: MethodBits = [], conditions: [RouteCondition] = []
  ) throws(Mistake) {
    self.methods = methods
    var distinct: [RouteCondition] = []
    for condition in conditions where !distinct.contains(condition) {
      if let mistake = condition.mistake { throw mistake }
      if distinct.contains(where: condition.excludes) {
        throw .contradiction(name: condition.name.isEmpty ? condition.field : condition.name)
      }
      distinct.append(condition)
    }
    if distinct.count > RoutePattern.conditionsMax { throw .tooManyConditions }
    self.conditions = distinct
    self.host = try RoutePattern.parse(host: host)
    self.parts = try RoutePattern.parse(path: path)
    self.path = path
  }

  private static func parse(host: String?) throws(Mistake) -> Host {
    guard let host, host != "*" else { return .any }
    var bytes = Array(host.utf8).map(RouteBytes.lowered)
    let isUnder = bytes.starts(with: [UInt8(ascii: "*"), UInt8(ascii: ".")])
    if isUnder { bytes.removeFirst(2) }
    if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
    let isAddress6 = bytes.first == UInt8(ascii: "[") && bytes.last == UInt8(ascii: "]") && !isUnder
    if bytes.isEmpty || bytes.count > 255 { throw .badHost(host: host) }
    for (index, byte) in bytes.enumerated() {
      let isName = RouteBytes.isUnreserved(byte) && byte != UInt8(ascii: "~")
      let isPartOfAddress6 =
        isAddress6 && (byte == UInt8(ascii: ":") || index == 0 || index == bytes.count - 1)
      let isEmptyLabel =
        byte == UInt8(ascii: ".") && (index == 0 || bytes[index - 1] == UInt8(ascii: "."))
      if !(isName || isPartOfAddress6) || isEmptyLabel { throw .badHost(host: host) }
    }
    return isUnder ? .under(bytes) : .exact(bytes)
  }

  private static func parse(path: String) throws(Mistake) -> [Part] {
    let bytes = Array(path.utf8)
    guard bytes.first == UInt8(ascii: "/") else { throw .pathWithoutSlash(path: path) }
    for (index, byte) in bytes.enumerated() {
      if byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") { throw .queryInPath(path: path) }
      if byte <= 0x20 || byte >= 0x7f { throw .badCharacter(path: path) }
      if byte == UInt8(ascii: "%") {
        guard index + 2 < bytes.count, RouteBytes.hex(bytes[index + 1]) >= 0,
          RouteBytes.hex(bytes[index + 2]) >= 0
        else { throw .badEscape(path: path) }
      }
    }
    let pieces = bytes.dropFirst().split(
      separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    if pieces.count > partsMax { throw .tooManyParts(path: path) }
    var parts: [Part] = []
    for (index, piece) in pieces.enumerated() {
      let isLast = index == pieces.count - 1
      let text = String(decoding: piece, as: UTF8.self)
      if piece.isEmpty {
        guard isLast else { throw .emptyPart(path: path) }
        parts.append(.literal([]))
      } else if text == "*" {
        parts.append(.one)
      } else if text == "**" {
        guard isLast else { throw .restNotLast(path: path) }
        parts.append(.rest)
      } else {
        if piece.contains(UInt8(ascii: "*")) { throw .partialWildcard(part: text, path: path) }
        if piece.contains(UInt8(ascii: "{")) || piece.contains(UInt8(ascii: "}")) {
          throw .braces(part: text, path: path)
        }
        let literal = RouteBytes.normalised(Array(piece))
        if literal == [UInt8(ascii: ".")] || literal == [UInt8(ascii: "."), UInt8(ascii: ".")] {
          throw .dotSegment(part: text, path: path)
        }
        parts.append(.literal(literal))
      }
    }
    return parts
  }

  // MARK: Comparing patterns (for checks: not on the way of a request)

  /// True if some request could match both.
  public func overlaps(_ other: RoutePattern) -> Bool {
    if !methods.isEmpty, !other.methods.isEmpty,
      methods.withHead.isDisjoint(with: other.methods.withHead)
    {
      return false
    }
    return hostsOverlap(other) && pathsOverlap(other) && !excludes(other)
  }

  /// True if no rule says which of the two wins, and some request matches both.
  public func ties(with other: RoutePattern) -> Bool {
    host == other.host && parts == other.parts && methods.isEmpty == other.methods.isEmpty
      && (methods.isEmpty || !methods.isDisjoint(with: other.methods))
      && conditionRank == other.conditionRank && !excludes(other)
  }

  /// True if this one is asked first, when both match a request.
  public func isMoreSpecific(than other: RoutePattern) -> Bool {
    let (mine, theirs) = (host.rank, other.host.rank)
    if mine != theirs { return mine > theirs }
    for index in 0..<max(parts.count, other.parts.count) {
      let (mine, theirs) = (rank(index), other.rank(index))
      if mine != theirs { return mine < theirs }
    }
    if methods.isEmpty != other.methods.isEmpty { return other.methods.isEmpty }
    if conditions.isEmpty && other.conditions.isEmpty { return false }
    return conditionRank > other.conditionRank
  }

  private var conditionRank: (Int, Int, Int, Int) {
    if conditions.isEmpty { return (0, 0, 0, 0) }
    let query = conditions.count { $0.isQuery }
    let bytes = conditions.reduce(0) { $0 + ($1.isEquals ? 0 : $1.text.utf8.count) }
    return (conditions.count - query, query, conditions.count { $0.isEquals }, bytes)
  }

  private func excludes(_ other: RoutePattern) -> Bool {
    conditions.contains { mine in other.conditions.contains(where: mine.excludes) }
  }

  private func rank(_ index: Int) -> Int {
    guard index < parts.count else { return 2 }
    switch parts[index] {
    case .literal: return 0
    case .one: return 1
    case .rest: return 3
    }
  }

  private func hostsOverlap(_ other: RoutePattern) -> Bool {
    switch (host, other.host) {
    case (.any, _), (_, .any): true
    case (.exact(let a), .exact(let b)): a == b
    case (.exact(let name), .under(let x)), (.under(let x), .exact(let name)): Host.isUnder(name, x)
    case (.under(let a), .under(let b)): a == b || Host.isUnder(a, b) || Host.isUnder(b, a)
    }
  }

  private func pathsOverlap(_ other: RoutePattern) -> Bool {
    var index = 0
    while true {
      let (mine, theirs) = (index < parts.count, index < other.parts.count)
      if mine, parts[index] == .rest { return true }
      if theirs, other.parts[index] == .rest { return true }
      if !mine || !theirs { return mine == theirs }
      switch (parts[index], other.parts[index]) {
      case (.literal(let a), .literal(let b)): if a != b { return false }
      case (.literal(let a), .one), (.one, .literal(let a)): if a.isEmpty { return false }
      default: break
      }
      index += 1
    }
  }
}

extension RoutePattern.Host {
  /// Longer is more specific; an exact one is more so than any `*.x`, whose names have at most 255 bytes.
  fileprivate var rank: Int {
    switch self {
    case .any: 0
    case .under(let name): name.count
    case .exact: 1000
    }
  }

  /// Whether `name` is one label or more below `x`.
  static func isUnder(_ name: [UInt8], _ x: [UInt8]) -> Bool {
    name.count > x.count + 1 && name.suffix(x.count).elementsEqual(x)
      && name[name.count - x.count - 1] == UInt8(ascii: ".")
  }
}
