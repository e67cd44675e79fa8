// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// Where a request may go whose address a customer has given: a webhook's endpoint (server-side request forgery, CWE-918).
///
/// Source: OWASP, *Server-Side Request Forgery Prevention Cheat Sheet*, case 2; Standard Webhooks, "Server side request
/// forgery (SSRF)". Two questions, in this order:
///
///     target("https://partner.example/hook")   before a name is looked up: is this an address that may be asked for?
///     choose(target, resolved)                 after it: which of these may be connected to?
///
/// ## Invariants
/// 1. What is connected to is an address out of ``choose(_:resolved:)``, as a number, never the name: a name that means another
///    address a moment later (rebinding) gains nothing. TLS and `Host` take the name of the target.
/// 2. Each connection asks again, also after a redirect, which is a new target.
/// 3. A text that two readers could take for different hosts is refused, not interpreted: numbers in short, octal or
///    hexadecimal forms, escapes, back slashes, white space, letters outside ASCII.
package struct OutgoingGuard: Sendable, Equatable {
  package struct Settings: Sendable, Equatable {
    /// Ports that may be connected to.
    ///
    /// 443 alone, as others are where things listen that take any bytes for their protocol: SMTP, Redis, memcached.
    package var ports: Set<UInt16> = [443]
    /// Whether `http:` may be used, too.
    ///
    /// What is sent can be read and changed on the way then. Port 80 has to be in ``ports``.
    package var allowsPlain = false
    /// Networks that may be connected to although they are not global; names of the own network may be used, too, then.
    package var allow: [AddressNetwork] = []
    /// Within ``allow`` any port and plain `http:` will do: what listens there is our own.
    package var isOpenInside = false

    package init() {}
  }

  /// An address that may be asked for; its name is still to be looked up, if it is one.
  package struct Target: Sendable, Equatable {
    package var isTLS: Bool
    /// Lower case, without a dot at the end; an address without brackets.
    package var host: String
    package var port: UInt16
    /// Path and query, as they were written; at least `/`.
    package var path: String
    /// When the host is an address: nothing is to be looked up.
    package var address: WireAddress?

    /// What `Host` says.
    package var authority: String {
      let name = address?.isIPv6 == true ? "[\(host)]" : host
      return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
  }

  /// Why it may not be.
  package enum Refusal: Error, Sendable, Equatable {
    case notAnAddress(String)
    case scheme(String)
    case userInfo
    case port(UInt16)
    case localName(String)
    case address(String, AddressKind)
    case nothingResolved(String)

    /// A sentence for whoever wrote the address; it tells nothing that they did not know.
    package var sentence: String {
      switch self {
      case .notAnAddress(let what): "this is not an address to send to: \(what)"
      case .scheme(let scheme): "\(scheme.isEmpty ? "a scheme is missing" : "\(scheme): is not sent to"); use https:"
      case .userInfo: "a name or password has no place in the address; sign what is sent instead"
      case .port(let port): "port \(port) is not sent to; use 443, or let `ports` name it"
      case .localName(let name): "\(name) is a name of the own network"
      case .address(let host, let kind): "\(host) is \(kind.words)"
      case .nothingResolved(let name): "\(name) has no address"
      }
    }
  }

  package enum Choice: Sendable, Equatable {
    /// These, in the order in which they came, with the target's port.
    case connect([WireAddress])
    case refuse(Refusal)
  }

  /// As RFC 3986 §4.1 bounds nothing: more than any real one, and no burden to store.
  package static let bytesMax = 2048

  private let settings: Settings

  package init(_ settings: Settings = Settings()) { self.settings = settings }

  /// Whether this address may be asked for at all.
  package func target(_ text: String) throws(Refusal) -> Target {
    let bytes = Array(text.utf8)
    if bytes.count > OutgoingGuard.bytesMax {
      throw .notAnAddress("it is longer than \(OutgoingGuard.bytesMax) bytes")
    }
    guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"\\<>\"`{}|^".utf8.contains($0) }) else {
      throw .notAnAddress("it has white space, back slashes or letters that must be escaped")
    }
    guard let colon = text.firstIndex(of: ":") else { throw .scheme("") }
    let scheme = text[..<colon].lowercased()
    let rest = text[text.index(after: colon)...]
    guard rest.hasPrefix("//") else {
      throw scheme == "http" || scheme == "https" ? .notAnAddress("`//` is missing behind \(scheme):") : .scheme(scheme)
    }
    let isTLS = scheme == "https"
    guard isTLS || scheme == "http" && (settings.allowsPlain || isOpenInside) else { throw .scheme(scheme) }

    let behind = rest.dropFirst(2)
    let end = behind.firstIndex { "/?#".contains($0) } ?? behind.endIndex
    let authority = behind[..<end]
    var path = String(behind[end...])
    if path.contains("#") { throw .notAnAddress("what stands behind `#` is never sent") }
    if !path.hasPrefix("/") { path = "/" + path }
    guard OutgoingGuard.escapesAreWhole(path) else { throw .notAnAddress("a `%` begins no escape") }
    if authority.contains("@") { throw .userInfo }

    let (name, port) = try OutgoingGuard.split(authority, isTLS ? 443 : 80)
    guard settings.ports.contains(port) || isOpenInside else { throw .port(port) }
    if authority.hasPrefix("[") {
      guard let address = WireAddress(text: name), address.isIPv6 else {
        throw .notAnAddress("\(name) is no IPv6 address")
      }
      return try admitted(Target(isTLS: isTLS, host: name, port: port, path: path, address: address))
    }
    if let address = WireAddress(text: name), !address.isIPv6 {
      return try admitted(Target(isTLS: isTLS, host: name, port: port, path: path, address: address))
    }
    let host = name.hasSuffix(".") ? String(name.dropLast()) : name
    try check(name: host)
    return Target(isTLS: isTLS, host: host, port: port, path: path)
  }

  /// Which of the addresses that the target's name has been found to mean may be connected to.
  ///
  /// Those that may not be are left out, and never connected to; when none is left the first says why.
  package func choose(_ target: Target, resolved: [WireAddress]) -> Choice {
    var good: [WireAddress] = []
    var refusal = Refusal.nothingResolved(target.host)
    for address in target.address.map({ [$0] }) ?? resolved {
      var plain = address.unmapped
      plain.port = target.port
      let kind = AddressKind(of: plain)
      if isAllowed(plain) {
        if !good.contains(plain) { good.append(plain) }
        continue
      }
      let why: Refusal? =
        if kind != .global {
          .address(target.host, kind)
        } else if !settings.ports.contains(target.port) {
          .port(target.port)
        } else {
          target.isTLS || settings.allowsPlain ? nil : .scheme("http")
        }
      if let why {
        if case .nothingResolved = refusal { refusal = why }
      } else if !good.contains(plain) {
        good.append(plain)
      }
    }
    return good.isEmpty ? .refuse(refusal) : .connect(good)
  }

  // MARK: Parts

  /// What the text alone does not say: where it leads decides.
  private var isOpenInside: Bool { settings.isOpenInside && !settings.allow.isEmpty }

  private func admitted(_ target: Target) throws(Refusal) -> Target {
    if case .refuse(let refusal) = choose(target, resolved: []) { throw refusal }
    return target
  }

  /// An address that carries another has to be listed itself: who lists 10.0.0.0/8 has not listed a translator to it.
  private func isAllowed(_ address: WireAddress) -> Bool {
    settings.allow.contains { $0.contains(address) }
  }

  private static func split(_ authority: Substring, _ usual: UInt16) throws(Refusal) -> (name: String, port: UInt16) {
    var name = authority
    var port: Substring?
    if authority.hasPrefix("[") {
      guard let close = authority.firstIndex(of: "]") else { throw .notAnAddress("`]` is missing") }
      name = authority[authority.index(after: authority.startIndex)..<close]
      let behind = authority[authority.index(after: close)...]
      guard behind.isEmpty || behind.hasPrefix(":") else { throw .notAnAddress("something stands behind `]`") }
      port = behind.isEmpty ? nil : behind.dropFirst()
    } else if let colon = authority.firstIndex(of: ":") {
      name = authority[..<colon]
      port = authority[authority.index(after: colon)...]
    }
    guard let port, !port.isEmpty else {
      if port != nil { throw .notAnAddress("no port stands behind `:`") }
      return (name.lowercased(), usual)
    }
    guard port.utf8.count <= 5, port.utf8.allSatisfy({ (0x30...0x39).contains($0) }), port.first != "0",
      let number = UInt16(port)
    else { throw .notAnAddress("the port is none") }
    return (name.lowercased(), number)
  }

  /// A name of the domain name system that means a host of the internet (RFC 1123 §2.1, RFC 6761, RFC 6762, RFC 9476).
  private func check(name: String) throws(Refusal) {
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    guard !name.isEmpty, name.utf8.count <= 253 else { throw .notAnAddress("a host is missing, or too long") }
    for label in labels {
      let fine =
        (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
        && label.utf8.allSatisfy {
          (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x5f
        }
      guard fine else { throw .notAnAddress("\(name) is no name of a host") }
    }
    // Readers of addresses take `127.1`, `0x7f000001` and `017700000001` for 127.0.0.1; no top level domain is a number.
    if let last = labels.last, last.allSatisfy(\.isNumber) || last.hasPrefix("0x") {
      throw .notAnAddress("\(name) is neither a name nor an address of four numbers")
    }
    guard settings.allow.isEmpty else { return }
    let own: Set<Substring> = [
      "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "onion", "invalid",
      "test", "alt",
    ]
    if labels.count == 1 || labels.last.map(own.contains) == true || name.hasSuffix(".home.arpa") {
      throw .localName(name)
    }
  }

  private static func escapesAreWhole(_ path: String) -> Bool {
    let bytes = Array(path.utf8)
    func isHex(_ i: Int) -> Bool {
      i < bytes.count && (bytes[i] &- 0x30 < 10 || (bytes[i] | 0x20) &- 0x61 < 6)
    }
    return bytes.indices.allSatisfy { bytes[$0] != 0x25 || isHex($0 + 1) && isHex($0 + 2) }
  }
}

extension OutgoingGuard {
  /// The same for addresses as text; what is none is left out.
  package func choose(_ target: Target, texts: [String]) -> Choice {
    choose(target, resolved: texts.compactMap { WireAddress(text: $0) })
  }
}
