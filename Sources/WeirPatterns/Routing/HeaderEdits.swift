// SPDX-License-Identifier: Apache-2.0

/// What is changed of a message's header fields: set, added, removed, with templates for values.
///
/// Source: Gateway API `HTTPHeaderFilter`. `set` replaces all fields of the name by one, `add` puts one more, `remove`
/// drops all. In this order whatever the file says first: removed, then set, then added.
///
/// Fields that frame the message or end at this hop cannot be edited (RFC 9110 §7.6.1, RFC 9112 §6): a gateway whose
/// file can write `Content-Length` can be made to smuggle.
public struct HeaderEdits: Sendable, Equatable {
  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case badName(name: String)
    case reserved(name: String)
    case twice(name: String)
    case tooMany
    case badValue(name: String, because: Template.Mistake)

    public var description: String {
      switch self {
      case .badName(let name): "“\(name)” is not a name of a header field"
      case .reserved(let name): "“\(name)” frames the message or ends at this hop: it is Weir's to write"
      case .twice(let name): "“\(name)” is both removed and set, or named twice"
      case .tooMany: "more than \(HeaderEdits.namesMax) fields are removed or set"
      case .badValue(let name, let because): "\(name): \(because)"
      }
    }
  }

  public struct Edit: Sendable, Equatable {
    /// Lower case.
    public var name: [UInt8]
    public var value: Template
    /// Beside the fields of that name that are there, instead of in their place.
    public var isAdded: Bool
  }

  private static let reserved = [
    "connection", "content-length", "expect", "forwarded", "host", "http2-settings", "keep-alive", "proxy",
    "proxy-connection", "proxy-status", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade",
    "x-real-ip",
  ]
  /// More than any route in use; drivers keep a bit for each.
  static let namesMax = 60
  /// Families of names that are written by hops about themselves.
  private static let reservedBeginnings = ["weir-", "x-forwarded-"]

  /// Those to be written, the set ones first.
  public private(set) var edits: [Edit] = []
  /// The names of all that are dropped: removed, or set anew.
  public private(set) var dropped: [[UInt8]] = []
  /// A bit for the length of each dropped name: most fields of a request are let through after one test.
  private var lengths: UInt64 = 0

  /// Changes nothing.
  public static let none = HeaderEdits()

  private init() {}

  public init(
    set: [(name: String, value: String)] = [], add: [(name: String, value: String)] = [], remove: [String] = [],
    path pattern: RoutePattern? = nil
  ) throws(Mistake) {
    for (name, value) in set {
      let bytes = try HeaderEdits.checked(name)
      try drop(bytes, name)
      edits.append(Edit(name: bytes, value: try HeaderEdits.template(name, value, pattern), isAdded: false))
    }
    for (name, value) in add {
      let bytes = try HeaderEdits.checked(name)
      edits.append(Edit(name: bytes, value: try HeaderEdits.template(name, value, pattern), isAdded: true))
    }
    for name in remove { try drop(try HeaderEdits.checked(name), name) }
  }

  private mutating func drop(_ bytes: [UInt8], _ name: String) throws(Mistake) {
    if dropped.contains(bytes) { throw .twice(name: name) }
    if dropped.count == HeaderEdits.namesMax { throw .tooMany }
    dropped.append(bytes)
    lengths |= 1 << UInt64(min(63, bytes.count))
  }

  private static func template(_ name: String, _ value: String, _ pattern: RoutePattern?) throws(Mistake) -> Template {
    do throws(Template.Mistake) { return try Template(value, path: pattern) } catch {
      throw .badValue(name: name, because: error)
    }
  }

  private static func checked(_ name: String) throws(Mistake) -> [UInt8] {
    let bytes = name.utf8.map(RouteBytes.lowered)
    // RFC 9110 §5.6.2, token.
    let marks = Array("!#$%&'*+-.^_`|~".utf8)
    let isToken = bytes.allSatisfy {
      $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
        || marks.contains($0)
    }
    if bytes.isEmpty || !isToken { throw .badName(name: name) }
    // `Content_Length` is `Content-Length` to CGI and what descends from it.
    let dashed = bytes.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }
    if reserved.contains(where: { Array($0.utf8) == dashed })
      || reservedBeginnings.contains(where: { dashed.starts(with: Array($0.utf8)) })
    {
      throw .reserved(name: name)
    }
    return bytes
  }

  // MARK: Questions

  public var isEmpty: Bool { edits.isEmpty && dropped.isEmpty }

  /// Whether a field of the message is left out, whatever the case of its name.
  public func drops(_ name: Span<UInt8>) -> Bool {
    if lengths >> UInt64(min(63, name.count)) & 1 == 0 { return false }
    for candidate in dropped where candidate.count == name.count {
      var index = 0
      while index < name.count, RouteBytes.lowered(name[index]) == candidate[index] { index += 1 }
      if index == name.count { return true }
    }
    return false
  }
}
