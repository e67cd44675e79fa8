// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirFlows

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The closed list of reasons, and its page.
@Suite struct ReasonTests {
  /// The registry of proxy error types, RFC 9209 §2.3.
  static let registry: Set<String> = [
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout",
    "connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size", "http_response_header_size",
    "http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size",
    "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
    "http_protocol_error", "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error",
    "proxy_loop_detected",
  ]

  @Test("names are unique words in kebab case")
  func names() {
    #expect(Set(Reason.allCases.map { "\($0.name)" }).count == Reason.allCases.count)
    #expect(Reason.count == Reason.allCases.count)
    for (index, reason) in Reason.allCases.enumerated() {
      #expect(Int(reason.rawValue) == index)
      let name = "\(reason.name)"
      #expect(name.allSatisfy { $0 == "-" || ("a"..."z").contains($0) } && !name.hasPrefix("-") && !name.hasSuffix("-"))
    }
    #expect(Set(Phase.allCases.map { "\($0.name)" }).count == Phase.allCases.count)
    #expect(Set(Event.Kind.allCases.map { "\($0.name)" }).count == Event.Kind.allCases.count)
  }

  @Test("statuses fit the side, types are RFC 9209's, and each has a sentence", arguments: Reason.allCases.dropFirst())
  func entries(reason: Reason) {
    #expect((400..<600).contains(reason.status))
    switch reason.side {
    case .client:
      #expect(reason.status < 500 || reason == .upgradeNotSupported || reason == .tooManyConnections)
    case .upstream, .us: #expect(reason.status >= 500)
    case .none: Issue.record("\(reason) is nobody's doing")
    }
    #expect(Self.registry.contains("\(reason.proxyStatus)"))
    let sentence = "\(reason.sentence)"
    #expect(sentence.hasSuffix(".") && !sentence.contains("\n") && sentence.count < 80)
  }

  @Test("docs/reasons.md has one row for each, with its name, status, side and type")
  func page() throws {
    var path = "\(#filePath)"
    for _ in 0..<3 { path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
    let text = try #require(Self.read("\(path)/docs/reasons.md"))
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("| `") }
    let expected = Reason.allCases.dropFirst().map {
      "| `\($0.name)` | \($0.status) | \($0.side.name) | `\($0.proxyStatus)` | "
    }
    #expect(rows.count == expected.count)
    for (row, start) in zip(rows, expected) {
      #expect(row.hasPrefix(start))
      #expect(row.split(separator: "|").count == 6, "meaning and advice are missing: \(row)")
    }
  }

  /// A file of the repository, or nil: without Foundation, as the sources are.
  static func read(_ path: String) -> String? {
    guard let file = unsafe fopen(path, "r") else { return nil }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    while case let byte = unsafe fgetc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
