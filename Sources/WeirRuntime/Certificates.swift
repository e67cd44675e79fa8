// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirCertificates
import WeirModel
import WeirPlatform
import WeirProxy

/// Reads what listeners and services speak TLS with, and notices when a file of it has changed.
///
/// Everything is read anew as a whole: chain and key are replaced one after the other on the disk, and a pair that does
/// not fit together yet is left for the next look.
struct Certificates {
  private let plan: Plan
  private let folder: String
  private let state: String
  /// By listener: what was read last.
  private var current: [ListenerSecurity?] = []
  /// By listener: what was wrong at the last look; said once.
  private var mistakes: [String?] = []
  private var looksAt = Date.distantPast

  /// A change is seen within this time; a certificate is renewed days before it expires.
  static let every: TimeInterval = 5

  init(plan: Plan, state: String) {
    self.plan = plan
    self.state = state
    folder = Files.parent(of: plan.design.file)
  }

  /// What every listener needs, by listener; nil for plain ones.
  mutating func read(now: Date) throws(PlaneError) -> [ListenerSecurity?] {
    var all: [ListenerSecurity?] = []
    for listener in listeners {
      all.append(listener.security.isSecured ? try security(listener.security, now: now) : nil)
    }
    current = all
    mistakes = all.map { _ in nil }
    looksAt = now.addingTimeInterval(Self.every)
    return all
  }

  /// What has changed since the last look, and what is wrong with what has changed.
  mutating func look(now: Date) -> [(listener: Int, news: Result<ListenerSecurity, PlaneError>)] {
    guard now >= looksAt, current.contains(where: { $0 != nil }) else { return [] }
    looksAt = now.addingTimeInterval(Self.every)
    var news: [(Int, Result<ListenerSecurity, PlaneError>)] = []
    for (index, listener) in listeners.enumerated() where current[index] != nil {
      do throws(PlaneError) {
        let read = try security(listener.security, now: now)
        if read != current[index] { news.append((index, .success(read))) }
        current[index] = read
        mistakes[index] = nil
      } catch {
        if mistakes[index] != error.description { news.append((index, .failure(error))) }
        mistakes[index] = error.description
      }
    }
    return news
  }

  /// When the first certificate of each listener expires: for metrics.
  var expiries: [(listener: Int, subject: String, at: Date)] {
    current.enumerated().flatMap { index, security in
      (security?.certificates ?? []).map { (index, $0.facts.names.first ?? $0.facts.subject, $0.facts.notAfter) }
    }
  }

  private func security(_ security: ListenSecurity, now: Date) throws(PlaneError) -> ListenerSecurity {
    var chains: [CertificateChain] = []
    for files in security.certificates { chains.append(try chain(files)) }
    if security.tls.authority?.value == .development { chains.append(try development(now: now)) }
    var made = ListenerSecurity(certificates: chains)
    made.minimum = security.tls.minimum.value == .tls13 ? .tls13 : .tls12
    switch security.client.value {
    case .none: break
    case .optional: made.client = .optional
    case .required: made.client = .required
    }
    if let authorities = security.clientAuthorities { made.clientAuthorities = try authoritiesText(authorities.value) }
    return made
  }

  /// How connections to each service of the plan are secured; nil for plain ones.
  func services() throws(PlaneError) -> [UpstreamSecurity?] {
    var all: [UpstreamSecurity?] = []
    for service in plan.design.services {
      guard let tls = service.tls else {
        all.append(nil)
        continue
      }
      var security = UpstreamSecurity()
      if !tls.verify.value {
        security.verification = .none
      } else if let authorities = tls.authorities {
        security.verification = .authorities(try authoritiesText(authorities.value))
      }
      if let name = tls.name?.value { security.name = name } else { security.name = try name(of: service) }
      if let files = tls.certificate { security.certificate = try chain(files) }
      all.append(security)
    }
    return all
  }

  /// The host that the addresses have in common; hosts that differ are each their own name.
  private func name(of service: WeirModel.Service) throws(PlaneError) -> String? {
    guard case .addresses(let texts) = service.kind else { return nil }
    var hosts: Set<String> = []
    for text in texts {
      let address = try References.resolve(text.value, folder: folder)
      if let colon = address.lastIndex(of: ":") { hosts.insert(String(address[..<colon])) }
    }
    return hosts.count == 1 ? hosts.first : nil
  }

  private var listeners: [WeirModel.Gateway.Listener] { plan.design.gateways.first?.listeners ?? [] }

  // MARK: - Files

  private func chain(_ files: CertificateFiles) throws(PlaneError) -> CertificateChain {
    let key = try References.resolve(files.key.value, folder: folder)
    let chain = try text(files.chain.value)
    do { return try CertificateChain(chain: chain, key: key) } catch {
      throw PlaneError("the certificate \(files.chain.value) cannot be used: \(error)")
    }
  }

  private func authoritiesText(_ path: String) throws(PlaneError) -> String {
    let text = try text(path)
    do { _ = try CertificateChain.certificates(text) } catch {
      throw PlaneError("the authorities in \(path) cannot be used: \(error)")
    }
    return text
  }

  private func text(_ path: String) throws(PlaneError) -> String {
    do { return try Files.text(Files.resolve(path, in: folder)) } catch {
      throw PlaneError("\(path) cannot be read: \(error.reason)")
    }
  }

  // MARK: - Development

  /// Where the authority for development stands; `weir run` says how to trust it.
  static func authorityPath(state: String) -> String { state + "/development/authority.pem" }

  /// The certificate for this machine's names, by the authority of the state folder; both are made when they are not
  /// there, and the certificate anew before it expires.
  private func development(now: Date) throws(PlaneError) -> CertificateChain {
    let directory = state + "/development"
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      let machine = ProcessInfo.processInfo.hostName
      let authority: DevelopmentAuthority
      if let certificate = try? Files.text(Self.authorityPath(state: state)),
        let key = try? Files.text(directory + "/authority.key")
      {
        authority = DevelopmentAuthority(certificate: certificate, key: key)
      } else {
        authority = try DevelopmentAuthority.make(machine: machine, now: now)
        try keep(authority.key, directory + "/authority.key")
        try keep(authority.certificate, Self.authorityPath(state: state))
      }
      if let chain = try? Files.text(directory + "/server.pem"), let key = try? Files.text(directory + "/server.key"),
        let kept = try? CertificateChain(chain: chain, key: key),
        kept.facts.notAfter > now.addingTimeInterval(Double(DevelopmentAuthority.renewDays) * 86_400)
      {
        return kept
      }
      var names = ["localhost", "*.localhost", "127.0.0.1", "::1"]
      if !machine.isEmpty && machine != "localhost" { names.append(machine.lowercased()) }
      let leaf = try authority.leaf(names: names, now: now)
      try keep(leaf.key, directory + "/server.key")
      try keep(leaf.chain, directory + "/server.pem")
      return leaf
    } catch {
      throw PlaneError("certificates for development cannot be made in \(directory): \(error)")
    }
  }

  /// Written beside and renamed, for its owner only from its first byte on.
  private func keep(_ text: String, _ path: String) throws {
    let temporary = path + ".new"
    try? FileManager.default.removeItem(atPath: temporary)
    guard
      FileManager.default.createFile(
        atPath: temporary, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
    else { throw PlaneError("\(path) cannot be written") }
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: temporary, toPath: path)
  }
}
