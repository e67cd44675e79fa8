// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

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

  /// The same, or the word `tcp`.
  static var urlPathOrTCP: ScalarType {
    .text("a path, or tcp", example: "/healthz", pattern: "^(/[^# ]*|tcp)$") { text in
      if text == "tcp" { return nil }
      if text.first != "/" { return "a path begins with /; the word tcp asks for a connection only" }
      if case .wrong(let wrong) = urlPath.read(text) { return wrong.message }
      return nil
    }
  }

  /// A name given to a thing of the file.
  static var name: ScalarType {
    .text("a name", example: "shop", pattern: namePattern) { nameProblem($0) }
  }

  /// A host name, or `*.` and one.
  ///
  /// Hosts are compared without case (RFC 9110 §4.2.3): the value is in lower case.
  static var host: ScalarType {
    var type = text("a host name", example: "shop.example", pattern: #"^(\*\.)?[^ /:*]+$"#) { text in
      do throws(RoutePattern.Mistake) {
        _ = try RoutePattern(path: "/", host: text)
        return nil
      } catch {
        return error.description
      }
    }
    let read = type.read
    type.read = { text in
      guard case .value(let host) = read(text) else { return read(text) }
      return .value(host.lowercased())
    }
    return type
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
