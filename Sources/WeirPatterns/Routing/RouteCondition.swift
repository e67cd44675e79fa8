// SPDX-License-Identifier: Apache-2.0

/// What a route asks of a request beyond host, path and method: a header, a cookie, a query parameter, a media type.
///
/// Source: Gateway API `HTTPRouteMatch` (headers, query parameters), without regular expressions: their cost and their
/// order of precedence cannot be told from the pattern. A version by header, by media type or by its parameter is a
/// condition like any other; a version by path is the path.
///
/// How values are read, so that Weir and who answers cannot disagree:
/// - header names, and media types with their parameters' names, without regard to case; values byte by byte;
/// - query names and values with `%XX` and `+` decoded; cookies as they stand, without surrounding quotes;
/// - **a field, cookie or query parameter that comes twice is present, but equals nothing**: which of the two counts is
///   what programs disagree about;
/// - of a header's list the first element that has the parameter; for `mediaType` any element.
public struct RouteCondition: Sendable, Hashable {
  public enum Subject: Sendable, Hashable {
    case header(String)
    case cookie(String)
    case query(String)
    /// `parameter(header: "accept", name: "version")` reads 2 in `application/json; version=2`.
    case parameter(header: String, name: String)
    /// The media types of a header, without parameters: only `equals` can be asked of it.
    case mediaType(header: String)
  }

  public enum Test: Sendable, Hashable {
    case present
    case absent
    case equals(String)
    case prefix(String)
    case suffix(String)
  }

  public let subject: Subject
  public let test: Test

  /// Names of headers, media types and parameters may be written in any case.
  public init(_ subject: Subject, _ test: Test) {
    switch subject {
    case .header(let name): self.subject = .header(RouteCondition.lowered(name))
    case .parameter(let header, let name):
      self.subject = .parameter(header: RouteCondition.lowered(header), name: RouteCondition.lowered(name))
    case .mediaType(let header): self.subject = .mediaType(header: RouteCondition.lowered(header))
    case .cookie, .query: self.subject = subject
    }
    if case .mediaType = subject, case .equals(let value) = test {
      self.test = .equals(RouteCondition.lowered(value))
    } else {
      self.test = test
    }
  }

  private static func lowered(_ text: String) -> String {
    String(decoding: text.utf8.map(RouteBytes.lowered), as: UTF8.self)
  }

  // MARK: Comparing

  var isQuery: Bool {
    if case .query = subject { return true }
    return false
  }

  /// The field whose value is read; empty for the query.
  var field: String {
    switch subject {
    case .header(let name), .mediaType(let name): name
    case .parameter(let header, _): header
    case .cookie: "cookie"
    case .query: ""
    }
  }

  /// What is looked for within the field or the query; empty for the whole field.
  var name: String {
    switch subject {
    case .header, .mediaType: ""
    case .parameter(_, let name), .cookie(let name), .query(let name): name
    }
  }

  /// The bytes a value is compared with.
  var text: String {
    switch test {
    case .present, .absent: ""
    case .equals(let text), .prefix(let text), .suffix(let text): text
    }
  }

  var isEquals: Bool {
    if case .equals = test { return true }
    return false
  }

  /// True if no request can fulfil both.
  func excludes(_ other: RouteCondition) -> Bool {
    if subject != other.subject { return false }
    // A list of media types may have both.
    if case .mediaType = subject { return false }
    let (mine, theirs) = (Array(text.utf8), Array(other.text.utf8))
    switch (test, other.test) {
    case (.absent, .absent): return false
    case (.absent, _), (_, .absent): return true
    case (.equals, .equals): return mine != theirs
    case (.equals, .prefix): return !mine.starts(with: theirs)
    case (.prefix, .equals): return !theirs.starts(with: mine)
    case (.equals, .suffix): return !mine.reversed().starts(with: theirs.reversed())
    case (.suffix, .equals): return !theirs.reversed().starts(with: mine.reversed())
    case (.prefix, .prefix): return !mine.starts(with: theirs) && !theirs.starts(with: mine)
    case (.suffix, .suffix):
      return !mine.reversed().starts(with: theirs.reversed()) && !theirs.reversed().starts(with: mine.reversed())
    case (.present, _), (_, .present), (.prefix, .suffix), (.suffix, .prefix): return false
    }
  }

  /// Why this cannot be asked, or nil.
  var mistake: RoutePattern.Mistake? {
    let isNameBad: Bool
    switch subject {
    case .header(let name), .mediaType(let name): isNameBad = name.isEmpty
    case .cookie(let name), .query(let name): isNameBad = name.isEmpty
    case .parameter(let header, let name): isNameBad = header.isEmpty || name.isEmpty
    }
    if isNameBad { return .emptyName }
    if case .mediaType = subject, !isEquals { return .mediaTypeTest(header: field) }
    switch test {
    case .prefix(""), .suffix(""): return .emptyText(name: name.isEmpty ? field : name)
    default: return nil
    }
  }
}
