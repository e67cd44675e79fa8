// SPDX-License-Identifier: Apache-2.0

/// A text with variables, taken apart once: for paths that are rewritten, redirects and header values.
///
///     https://$host/new$rest?from=$1   ──▶  literal, host, literal, rest, literal, part 1
///
/// Variables: `$host $path $query $method $scheme $client $request-id $trace $route $service`, `$1` … `$9` for what the `*` of
/// the route's path took, from the left, `$rest` for what its `**` took, with the slash before it. `${host}` where a
/// letter, digit or hyphen follows; `$$` is a dollar. `$path` and `$query` are as the client sent them; `$query` is
/// without its `?`, and `$?query` is with it, or nothing when there is none.
///
/// Filling appends to a buffer of the caller's, which allocates nothing once it has grown; a driver with another kind of
/// buffer goes through `pieces` by itself.
///
/// ## Invariants
/// 1. What is filled in is bytes of the request as the scanner let them pass: nothing is decoded, so nothing that was
///    checked can turn into something else.
/// 2. A path, or a redirect within the same host, never begins with two slashes or a slash and a backslash: browsers and
///    programs read `//evil.example` as another host.
public struct Template: Sendable, Equatable {
  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case unknownVariable(name: String)
    case danglingDollar
    case noSuchPart(number: Int, path: String)
    case noRest(path: String)
    case controlCharacter
    case restNotLast(target: String)
    case notAPath(target: String)
    case partialWildcard(part: String)

    public var description: String {
      switch self {
      case .unknownVariable(let name):
        "there is no variable “$\(name)”; there are \(Variable.allNames.map { "$" + $0 }.joined(separator: " ")), $1 … $9 and $rest"
      case .danglingDollar: "a $ needs a name behind it; write $$ for a dollar"
      case .noSuchPart(let number, let path): "the path “\(path)” has no \(number). *"
      case .noRest(let path): "the path “\(path)” has no **, so there is no rest"
      case .controlCharacter: "a line end or another control character cannot be in a path or header"
      case .restNotLast(let target): "in “\(target)” ** is not the last part"
      case .notAPath(let target): "“\(target)” does not begin with /, or has a space, ? or #"
      case .partialWildcard(let part): "“\(part)” mixes * with other characters; * stands for one whole part"
      }
    }
  }

  public enum Variable: UInt8, Sendable, Equatable, CaseIterable {
    case host, path, query, method, scheme, client, requestID, trace, route, service

    public var name: String { self == .requestID ? "request-id" : "\(self)" }

    static var allNames: [String] { allCases.map(\.name) }
  }

  public enum Piece: Sendable, Equatable {
    /// Bytes of ``literals``.
    case literal(Range<Int>)
    case variable(Variable)
    /// The query with a `?` before it, or nothing.
    case askedQuery
    /// The part of the path with this index, from 0.
    case part(Int)
    /// The path from the slash before the part with this index on.
    case rest(from: Int)
  }

  /// Where the values of one request are: ranges of the head as it came, and of a second run of bytes for what is ours
  /// (scheme, client, request and trace id, names).
  public struct Values: Sendable, BitwiseCopyable {
    private var starts = InlineArray<10, UInt32>(repeating: 0)
    private var ends = InlineArray<10, UInt32>(repeating: 0)
    private var isOwn: UInt16 = 0

    public init() {}

    /// The value is these bytes of the request's head; nothing said is an empty value.
    public mutating func set(_ variable: Variable, inHead range: Range<Int>) {
      set(variable, range)
      isOwn &= ~(1 << UInt16(variable.rawValue))
    }

    /// The value is these bytes of our own.
    public mutating func set(_ variable: Variable, inOwn range: Range<Int>) {
      set(variable, range)
      isOwn |= 1 << UInt16(variable.rawValue)
    }

    private mutating func set(_ variable: Variable, _ range: Range<Int>) {
      starts[Int(variable.rawValue)] = UInt32(range.lowerBound)
      ends[Int(variable.rawValue)] = UInt32(range.upperBound)
    }

    public func range(_ variable: Variable) -> Range<Int> {
      Int(starts[Int(variable.rawValue)])..<Int(ends[Int(variable.rawValue)])
    }

    public func isOwn(_ variable: Variable) -> Bool { isOwn >> UInt16(variable.rawValue) & 1 != 0 }
  }

  public private(set) var pieces: [Piece] = []
  public private(set) var literals: [UInt8] = []
  /// The result is a path, or a reference that begins with one.
  private var isPath = false

  /// Takes a text apart; `pattern` is the route's path, for `$1` and `$rest`.
  public init(_ text: String, path pattern: RoutePattern? = nil) throws(Mistake) {
    let bytes = Array(text.utf8)
    for byte in bytes where byte < 0x20 && byte != 0x09 || byte == 0x7f { throw .controlCharacter }
    var index = 0
    while index < bytes.count {
      if bytes[index] != UInt8(ascii: "$") {
        append(bytes[index])
        index += 1
        continue
      }
      index += 1
      if index < bytes.count, bytes[index] == UInt8(ascii: "$") {
        append(bytes[index])
        index += 1
        continue
      }
      let isBraced = index < bytes.count && bytes[index] == UInt8(ascii: "{")
      if isBraced { index += 1 }
      let start = index
      if index < bytes.count, bytes[index] == UInt8(ascii: "?") { index += 1 }
      // A number has one digit: `$1-` is the first part and a hyphen.
      let isNumber = index < bytes.count && bytes[index] >= UInt8(ascii: "0") && bytes[index] <= UInt8(ascii: "9")
      if isNumber { index += 1 }
      while !isNumber, index < bytes.count, Template.isOfName(bytes[index]) { index += 1 }
      let name = String(decoding: bytes[start..<index], as: UTF8.self)
      if isBraced {
        guard index < bytes.count, bytes[index] == UInt8(ascii: "}") else { throw .danglingDollar }
        index += 1
      }
      if name.isEmpty { throw .danglingDollar }
      pieces.append(try Template.piece(name, pattern))
    }
    isPath = Template.isPath(pieces.first, literals)
  }

  /// A path to rewrite to, as the file writes it: each `*` is what the same `*` of the route's path took, `**` the rest.
  ///
  /// `/api/products/**` to `/v2/**` makes `/v2` of `/api/products`, and `/v2/7` of `/api/products/7`.
  public init(rewrite target: String, of pattern: RoutePattern) throws(Mistake) {
    let bytes = Array(target.utf8)
    if bytes.first != UInt8(ascii: "/") { throw .notAPath(target: target) }
    for byte in bytes where byte <= 0x20 || byte >= 0x7f || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#") {
      throw .notAPath(target: target)
    }
    let parts = bytes.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    var stars = 0
    for (index, part) in parts.enumerated() {
      let text = String(decoding: part, as: UTF8.self)
      if text == "**" {
        if index < parts.count - 1 { throw .restNotLast(target: target) }
        // The rest brings its own slash.
        pieces.append(try Template.piece("rest", pattern))
        continue
      }
      append(UInt8(ascii: "/"))
      if text == "*" {
        stars += 1
        pieces.append(try Template.part(stars, pattern))
      } else {
        if part.contains(UInt8(ascii: "*")) { throw .partialWildcard(part: text) }
        for byte in part { append(byte) }
      }
    }
    isPath = true
  }

  private mutating func append(_ byte: UInt8) {
    if case .literal(let range) = pieces.last {
      pieces[pieces.count - 1] = .literal(range.lowerBound..<range.upperBound + 1)
    } else {
      pieces.append(.literal(literals.count..<literals.count + 1))
    }
    literals.append(byte)
  }

  private static func isOfName(_ byte: UInt8) -> Bool {
    RouteBytes.isUnreserved(byte) && byte != UInt8(ascii: ".") && byte != UInt8(ascii: "~")
      && byte != UInt8(ascii: "_")
  }

  private static func piece(_ name: String, _ pattern: RoutePattern?) throws(Mistake) -> Piece {
    if name == "?query" { return .askedQuery }
    if let variable = Variable.allCases.first(where: { $0.name == name }) { return .variable(variable) }
    if name == "rest" {
      guard let pattern, pattern.parts.last == .rest else { throw .noRest(path: pattern?.path ?? "") }
      return .rest(from: pattern.parts.count - 1)
    }
    if let number = Int(name), number > 0, number < 10 { return try part(number, pattern) }
    throw .unknownVariable(name: name)
  }

  private static func part(_ number: Int, _ pattern: RoutePattern?) throws(Mistake) -> Piece {
    var left = number
    for (index, part) in (pattern?.parts ?? []).enumerated() where part == .one {
      left -= 1
      if left == 0 { return .part(index) }
    }
    throw .noSuchPart(number: number, path: pattern?.path ?? "")
  }

  private static func isPath(_ first: Piece?, _ literals: [UInt8]) -> Bool {
    switch first {
    case .literal(let range): literals[range.lowerBound] == UInt8(ascii: "/")
    case .variable(.path), .rest: true
    default: false
    }
  }

  // MARK: Questions

  /// Without variables: the same for every request.
  public var isConstant: Bool {
    pieces.allSatisfy {
      if case .literal = $0 { return true }
      return false
    }
  }

  /// The text begins as a path does: for a redirect, within the same host.
  public var startsAsPath: Bool { isPath }

  /// Appends the text for a request.
  ///
  /// `head` is what ranges of the request refer to, `own` the bytes that are ours.
  public func fill(_ values: borrowing Values, head: Span<UInt8>, own: Span<UInt8>, into buffer: inout [UInt8]) {
    let start = buffer.count
    for piece in pieces {
      switch piece {
      case .literal(let range): for index in range { buffer.append(literals[index]) }
      case .variable(let variable):
        let range = values.range(variable)
        if values.isOwn(variable) {
          Template.append(own, range, &buffer)
        } else {
          Template.append(head, range, &buffer)
        }
      case .askedQuery:
        let range = values.range(.query)
        if range.isEmpty { continue }
        buffer.append(UInt8(ascii: "?"))
        Template.append(head, range, &buffer)
      case .part(let index):
        Template.append(head, Template.part(index, of: head, values.range(.path)), &buffer)
      case .rest(let index):
        let path = values.range(.path)
        let first = Template.part(index, of: head, path)
        // From the slash before it; when the path ends before it there is no rest.
        if first.lowerBound <= path.upperBound {
          Template.append(head, first.lowerBound - 1..<path.upperBound, &buffer)
        }
      }
    }
    if isPath { Template.straighten(&buffer, from: start) }
  }

  private static func append(_ bytes: Span<UInt8>, _ range: Range<Int>, _ buffer: inout [UInt8]) {
    for index in range { buffer.append(bytes[index]) }
  }

  /// The bytes of a part of the path; one that the path does not have begins beyond its end.
  private static func part(_ wanted: Int, of head: Span<UInt8>, _ path: Range<Int>) -> Range<Int> {
    var start = path.lowerBound + 1
    var number = 0
    while start <= path.upperBound {
      var end = start
      while end < path.upperBound, head[end] != UInt8(ascii: "/") { end += 1 }
      if number == wanted { return start..<end }
      number += 1
      start = end + 1
    }
    let beyond = path.upperBound + 1
    return beyond..<beyond
  }

  /// One slash at the beginning, neither none nor more.
  private static func straighten(_ buffer: inout [UInt8], from start: Int) {
    var slashes = 0
    while start + slashes < buffer.count,
      buffer[start + slashes] == UInt8(ascii: "/") || (slashes > 0 && buffer[start + slashes] == UInt8(ascii: "\\"))
    {
      slashes += 1
    }
    if slashes == 0 {
      buffer.insert(UInt8(ascii: "/"), at: start)
    } else if slashes > 1 {
      buffer.removeSubrange(start + 1..<start + slashes)
    }
  }
}
