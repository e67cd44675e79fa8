// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOSSL
import Synchronization
import WeirCertificates

/// The TLS contexts of a proxy: by listener, replaced when certificates change; by service, for connections to instances.
///
/// Thread-safe. A connection keeps the context that it was accepted with.
final class SecurityContexts: Sendable {
  private let listeners: Mutex<[NIOSSLContext?]>
  private let services: [NIOSSLContext?]
  private let names: [String?]

  init(_ configuration: ProxyConfiguration) throws(CertificateMistake) {
    var contexts: [NIOSSLContext?] = []
    for listener in configuration.listeners { contexts.append(try listener.security.map(Self.server)) }
    listeners = Mutex(contexts)
    var clients: [NIOSSLContext?] = []
    for (service, security) in configuration.upstreamSecurity.enumerated() {
      guard let security else {
        clients.append(nil)
        continue
      }
      clients.append(try Self.client(security, isHTTP2: configuration.http2Services.contains(service)))
    }
    services = clients
    names = configuration.upstreamSecurity.map { $0?.name }
  }

  func listener(_ index: Int) -> NIOSSLContext? { listeners.withLock { $0[index] } }

  /// Later connections are accepted with these; throws, and changes nothing, when they cannot be used.
  func replace(_ index: Int, _ security: ListenerSecurity) throws(CertificateMistake) {
    let context = try Self.server(security)
    listeners.withLock { $0[index] = context }
  }

  func service(_ index: Int) -> NIOSSLContext? { index < services.count ? services[index] : nil }

  /// The name that an instance's certificate must be for; nil for an address without any.
  func name(of service: Int, at address: SocketAddress) -> String? {
    if let name = names[service] { return name }
    switch address {
    case .v4(let address): return address.host.isEmpty ? nil : address.host
    case .v6(let address): return address.host.isEmpty ? nil : address.host
    case .unixDomainSocket: return nil
    }
  }

  // MARK: - Making them

  private static func server(_ security: ListenerSecurity) throws(CertificateMistake) -> NIOSSLContext {
    do {
      let chains = try security.certificates.map(Chain.init)
      guard let first = chains.first else { throw CertificateMistake("a listener with TLS needs a certificate") }
      var configuration = TLSConfiguration.makeServerConfiguration(
        certificateChain: first.certificates, privateKey: first.key)
      configuration.minimumTLSVersion = security.minimum == .tls13 ? .tlsv13 : .tlsv12
      configuration.cipherSuiteValues = modern
      configuration.applicationProtocols = security.protocols
      configuration.shutdownTimeout = shutdown
      switch security.client {
      case .none: break
      case .optional: configuration.certificateVerification = .optionalVerification
      case .required: configuration.certificateVerification = .noHostnameVerification
      }
      if security.client != .none {
        if security.clientAuthorities.isEmpty {
          configuration.trustRoots = .default
        } else {
          let authorities = try NIOSSLCertificate.fromPEMBytes(Array(security.clientAuthorities.utf8))
          configuration.trustRoots = .certificates(authorities)
          configuration.sendCANameList = true
        }
      }
      if chains.count > 1 {
        configuration.sslContextCallback = { values, promise in
          let index = security.certificate(for: values.serverHostname)
          var override = NIOSSLContextConfigurationOverride()
          if index > 0 {
            override.certificateChain = chains[index].certificates
            override.privateKey = chains[index].key
          }
          promise.succeed(override)
        }
      }
      return try NIOSSLContext(configuration: configuration)
    } catch let mistake as CertificateMistake {
      throw mistake
    } catch {
      throw CertificateMistake("TLS cannot be set up: \(error)")
    }
  }

  private static func client(_ security: UpstreamSecurity, isHTTP2: Bool) throws(CertificateMistake) -> NIOSSLContext {
    do {
      var configuration = TLSConfiguration.makeClientConfiguration()
      configuration.minimumTLSVersion = .tlsv12
      configuration.applicationProtocols = [isHTTP2 ? "h2" : "http/1.1"]
      configuration.shutdownTimeout = shutdown
      switch security.verification {
      case .system: break
      case .authorities(let text):
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(text.utf8)))
      case .none: configuration.certificateVerification = .none
      }
      if let own = security.certificate {
        let chain = try Chain(own)
        configuration.certificateChain = chain.certificates
        configuration.privateKey = chain.key
      }
      return try NIOSSLContext(configuration: configuration)
    } catch {
      throw CertificateMistake("TLS to a service cannot be set up: \(error)")
    }
  }

  private struct Chain {
    var certificates: [NIOSSLCertificateSource]
    var key: NIOSSLPrivateKeySource

    init(_ chain: CertificateChain) throws {
      certificates = try NIOSSLCertificate.fromPEMBytes(Array(chain.chain.utf8)).map { .certificate($0) }
      key = .privateKey(try NIOSSLPrivateKey(bytes: Array(chain.key.utf8), format: .pem))
    }
  }

  /// How long an end waits for the other's: `ProxyLimits.linger` for plain connections.
  private static let shutdown = TimeAmount.seconds(1)

  /// For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has nothing else.
  private static let modern: [NIOTLSCipher] = [
    .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
  ]
}
