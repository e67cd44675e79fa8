// SPDX-License-Identifier: Apache-2.0

/// Callers who are known by the certificate of their connection, which TLS has verified already.
package struct ClientCertificates: Sendable, Equatable {
  /// What a verified certificate says.
  package struct Evidence: Sendable, Equatable {
    package var names: [String]
    package var subject: String
    package var fingerprint: String

    package init(names: [String], subject: String, fingerprint: String) {
      self.names = names
      self.subject = subject
      self.fingerprint = fingerprint
    }
  }

  /// A name it may be for (`*.partner.example` for one label below), its subject or its fingerprint, and the roles that go
  /// with it.
  package struct Member: Sendable, Equatable {
    package var name: String
    package var roles: [String]

    package init(name: String, roles: [String]) {
      self.name = name
      self.roles = roles
    }
  }

  package var members: [Member]

  package init(members: [Member]) { self.members = members }

  /// Nil when no member fits: verified is not enough, for an authority signs for many.
  func check(_ evidence: Evidence) -> Claims? {
    var found: Claims?
    for member in members {
      guard let name = name(of: evidence, fitting: member.name) else { continue }
      if found == nil { found = Claims(subject: name) }
      found?.roles += member.roles
    }
    return found
  }

  private func name(of evidence: Evidence, fitting pattern: String) -> String? {
    if pattern == evidence.subject || pattern == evidence.fingerprint { return pattern }
    if evidence.names.contains(pattern) { return pattern }
    guard pattern.hasPrefix("*.") else { return nil }
    return evidence.names.first { name in
      name.firstIndex(of: ".").map { $0 != name.startIndex && name[$0...] == pattern.dropFirst() } ?? false
    }
  }
}
