// SPDX-License-Identifier: Apache-2.0

/// Which pages of other origins may call a route, and with what.
///
/// Source: WHATWG Fetch Standard §3.2 (CORS protocol). A browser asks before it sends what a form could not send
/// (*preflight*), and shows a page an answer only when the answer names the page's origin. Nothing is kept from a program
/// that is no browser: this protects users, not the service.
///
/// What could surprise: an origin is compared letter by letter, as browsers write it: in lower case, with the port unless
/// it is the scheme's own, without a path.
///
/// ## Invariants
/// 1. No origin is allowed that is not listed, equal to a listed one or below a listed `*.`.
/// 2. With credentials no origin is allowed by `*`: every page in the world could act in its visitor's name.
public struct CORSRule: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// `https://shop.example`, `https://*.shop.example`, `null`, or `*` alone for all.
    public var origins: [String] = []
    /// Beyond GET, HEAD and POST, which a browser may send without asking.
    public var methods: [String] = ["GET", "HEAD", "POST"]
    /// Fields that a page may set; `*` alone for all but `Authorization`.
    public var headers: [String] = []
    /// Fields of answers that a page may read, beside those that it always may.
    public var expose: [String] = []
    /// Cookies and the like come with the request, and the page may read the answer.
    public var credentials = false
    /// How long a browser remembers what it may: Chromium does for 2 hours at most.
    public var maxAge: Duration = .seconds(600)

    public init() {}
  }

  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case origin(String)
    case everyoneWithCredentials
    case everyoneAmongOthers

    public var description: String {
      switch self {
      case .origin(let text):
        "“\(text)” is no origin: https://shop.example, https://*.shop.example or *, in lower case, without a path"
      case .everyoneWithCredentials:
        "with credentials every page in the world could act in its visitor's name: name the origins"
      case .everyoneAmongOthers: "* stands alone: it is all origins"
      }
    }
  }

  private struct Entry: Sendable, Equatable {
    /// All of it, or what stands before the `*`.
    var head: [UInt8]
    /// What stands behind the `*`; empty for an origin that is written whole.
    var tail: [UInt8]
  }

  public let settings: Settings
  /// `*`: every origin, by that word.
  public let isForAll: Bool
  public let allowsAllHeaders: Bool
  private let entries: [Entry]
  private let methods: [[UInt8]]
  private let headers: [[UInt8]]

  public init(_ settings: Settings) throws(Mistake) {
    self.settings = settings
    isForAll = settings.origins.contains("*")
    if isForAll && settings.origins.count > 1 { throw .everyoneAmongOthers }
    if isForAll && settings.credentials { throw .everyoneWithCredentials }
    var entries: [Entry] = []
    for origin in settings.origins where origin != "*" {
      if let mistake = CORSRule.mistake(in: origin) { throw mistake }
      let bytes = Array(origin.utf8)
      if let star = bytes.firstIndex(of: UInt8(ascii: "*")) {
        entries.append(Entry(head: Array(bytes[..<star]), tail: Array(bytes[(star + 1)...])))
      } else {
        entries.append(Entry(head: bytes, tail: []))
      }
    }
    self.entries = entries
    methods = settings.methods.map { Array($0.utf8) }
    allowsAllHeaders = settings.headers.contains("*")
    headers = settings.headers.map { $0.utf8.map(RouteBytes.lowered) }
  }

  /// What is wrong with an origin by itself; `*` is right.
  public static func mistake(in origin: String) -> Mistake? {
    if origin == "*" || origin == "null" { return nil }
    guard let colon = origin.firstRange(of: "://") else { return .origin(origin) }
    let scheme = origin[..<colon.lowerBound]
    var rest = origin[colon.upperBound...]
    if rest.hasPrefix("*.") { rest = rest.dropFirst(2) }
    let isPlain = rest.utf8.allSatisfy {
      $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
        || "-._:[]".utf8.contains($0)
    }
    let isScheme = !scheme.isEmpty && scheme.utf8.allSatisfy { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }
    return !rest.isEmpty && isPlain && isScheme && rest.utf8.first != UInt8(ascii: ".") ? nil : .origin(origin)
  }

  // MARK: Questions

  /// Whether pages of `origin` may call.
  public func allows(origin: Span<UInt8>) -> Bool {
    if isForAll { return true }
    next: for entry in entries {
      let ends = entry.head.count + entry.tail.count
      if entry.tail.isEmpty ? origin.count != ends : origin.count <= ends { continue }
      for i in 0..<entry.head.count where origin[i] != entry.head[i] { continue next }
      if entry.tail.isEmpty { return true }
      let from = origin.count - entry.tail.count
      for i in 0..<entry.tail.count where origin[from + i] != entry.tail[i] { continue next }
      // What stands for the `*` is a name: nothing that could end one host and begin another.
      for i in entry.head.count..<from {
        let byte = origin[i]
        let isName =
          byte &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
        if !isName { continue next }
      }
      if origin[entry.head.count] == UInt8(ascii: ".") { continue }
      return true
    }
    return false
  }

  /// Whether a page may send this method; GET, HEAD and POST it may always.
  public func allows(method: Span<UInt8>) -> Bool {
    CORSRule.simple.contains { CORSRule.equal($0, method) } || methods.contains { CORSRule.equal($0, method) }
  }

  /// Whether a page may set this field, whatever its case.
  public func allows(header: Span<UInt8>) -> Bool {
    if headers.contains(where: { CORSRule.equalLowered($0, header) }) { return true }
    return allowsAllHeaders && !CORSRule.equalLowered(CORSRule.authorization, header)
  }

  private static let simple: [[UInt8]] = ["GET", "HEAD", "POST"].map { Array($0.utf8) }
  private static let authorization = Array("authorization".utf8)

  private static func equal(_ a: [UInt8], _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    for i in 0..<a.count where a[i] != b[i] { return false }
    return true
  }

  private static func equalLowered(_ a: [UInt8], _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    for i in 0..<a.count where a[i] != RouteBytes.lowered(b[i]) { return false }
    return true
  }
}
