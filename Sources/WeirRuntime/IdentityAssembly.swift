// SPDX-License-Identifier: Apache-2.0
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import WeirBase
import WeirFlows
import WeirIdentity
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirTelemetry

/// From the file's identities to those that answer: lists are read, keys are fetched, services are asked.
enum IdentityAssembly {
  /// The caller's name on the loopback listener when the gateway itself asks a service who somebody is.
  ///
  /// No service has a name that begins with a dash.
  static let caller = "-gateway"

  /// Of the process, not of a plan: whoever is at a limit is there after a reload, too.
  private static let hash = KeyedHash(secret: .random(in: .min ... .max), .random(in: .min ... .max))

  /// Nil when no route names an identity or an address.
  static func access(_ plan: Plan, callsPort: Int) throws(PlaneError) -> AccessConfiguration? {
    guard let gateway = plan.design.gateways.first, !plan.accesses.isEmpty else { return nil }
    let folder = Files.parent(of: plan.design.file)
    var identities: [IdentitySettings] = []
    for identity in gateway.identities.all {
      var settings = IdentitySettings(
        name: identity.name.text, kind: try kind(identity, plan: plan, folder: folder, callsPort: callsPort))
      settings.forwards = identity.forward.value
      settings.fields = identity.fields.map { .init(claim: $0.name, name: $0.value.value) }
      identities.append(settings)
    }
    let rules = plan.accesses.map { access in
      AccessRule(
        conditions: access.conditions.map { condition in
          switch condition {
          case .role(let role): .role(role)
          case .scope(let scope): .scope(scope)
          case .claim(let name, let value): .claim(name, value)
          }
        })
    }
    let gate = IdentityGate(
      identities, accesses: rules, tenants: tenants(plan), counted: plan.countedClaims, hash: hash,
      now: { SystemClock.wall().milliseconds / 1000 })
    keepFresh(gate)
    do {
      return try AccessConfiguration(
        gate: gate, addresses: plan.accesses.map { $0.addresses.compactMap { AddressRange($0) } },
        identitiesOfAccesses: plan.accesses.map(\.identities), realm: plan.design.system.value)
    } catch { throw PlaneError("a field of an identity has a name that no field has: \(error)") }
  }

  private static func tenants(_ plan: Plan) -> TenantRules? {
    guard let tenants = plan.design.tenants else { return nil }
    var rules = TenantRules(claim: tenants.claim.value)
    rules.known = tenants.members.map { member in
      TenantRules.Known(name: member.name, plan: Int32(tenants.plan(member.value.value) ?? -1))
    }
    rules.otherwise = Int32(tenants.otherwise.flatMap { tenants.plan($0.value) } ?? -1)
    return rules
  }

  private static func kind(
    _ identity: Identity, plan: Plan, folder: String, callsPort: Int
  ) throws(PlaneError) -> IdentitySettings.Kind {
    let name = identity.name.text
    if let jwt = identity.jwt { return .token(rules(jwt), store(jwt, folder: folder), field: jwt.header?.value) }
    do {
      if let key = identity.apiKey {
        return .apiKey(try APIKeys(try list(key.keys.value, folder)), field: key.header.value)
      }
      if let basic = identity.basic { return .basic(try Passwords(try list(basic.users.value, folder))) }
      if let hmac = identity.hmac {
        var settings = SignedRequests.Settings()
        settings.window = max(1, hmac.window.value.components.seconds)
        return .signature(try SignedRequests(try list(hmac.keys.value, folder), settings))
      }
      if let webhook = identity.webhook { return .webhook(try WebhookReceiving.identity(webhook, folder)) }
    } catch let error as PlaneError {
      throw error
    } catch { throw PlaneError("identity '\(name)': \(error)") }
    if let certificate = identity.certificate {
      return .certificate(
        ClientCertificates(members: certificate.names.map { .init(name: $0.name.value, roles: $0.roles) }))
    }
    guard let forward = identity.forwardAuth else { throw PlaneError("identity '\(name)' has no kind") }
    return .forward(asking(forward, plan: plan, callsPort: callsPort))
  }

  /// A list of credentials: what a reference holds, or the file of that path.
  static func list(_ text: Text, _ folder: String) throws(PlaneError) -> String {
    if !text.isLiteral { return try References.resolve(text, folder: folder) }
    do { return try Files.text(Files.resolve(text.raw, in: folder)) } catch {
      throw PlaneError("\(text.raw) cannot be read: \(error.reason)")
    }
  }

  /// What the lists of credentials hold, as a number that changes with them; empty without any.
  ///
  /// One that cannot be read is as good as a changed one: reading it for use says why.
  static func credentials(_ plan: Plan) -> String {
    guard let gateway = plan.design.gateways.first, !plan.accesses.isEmpty else { return "" }
    let folder = Files.parent(of: plan.design.file)
    let lists = gateway.identities.all.compactMap { identity -> (name: String, text: String)? in
      guard let text = identity.apiKey?.keys ?? identity.basic?.users ?? identity.hmac?.keys ?? identity.webhook?.secret
      else { return nil }
      return (identity.name.text, (try? list(text.value, folder)) ?? "\u{0}missing")
    }
    return lists.isEmpty ? "" : FileState.hash(lists)
  }

  // MARK: - Tokens

  private static func rules(_ jwt: TokenIdentity) -> TokenRules {
    var rules = TokenRules()
    rules.issuer = jwt.issuer.value
    rules.audiences = jwt.audience?.value ?? []
    if let algorithms = jwt.algorithms?.value {
      rules.algorithms = algorithms.compactMap { SignatureAlgorithm(rawValue: $0.rawValue) }
    }
    rules.leeway = jwt.leeway.value.components.seconds
    rules.roles = jwt.roles.value
    return rules
  }

  /// From a URL, from a file, or from what a reference holds: each is read anew as time goes on.
  private static func store(_ jwt: TokenIdentity, folder: String) -> KeyStore {
    let keys = jwt.keys.value
    var settings = KeyStore.Settings()
    settings.refreshEvery = max(1, jwt.refresh.value.components.seconds)
    if isURL(keys.raw) {
      let url = keys.raw
      return KeyStore(settings) { try await fetch(url) }
    }
    // A file costs nothing to read: a change is seen within two seconds.
    settings.refreshEvery = min(2, settings.refreshEvery)
    settings.unknownEvery = 1
    return KeyStore(settings) {
      let text = try list(keys, folder)
      return isURL(text) ? try await fetch(text) : Array(text.utf8)
    }
  }

  private static func isURL(_ text: String) -> Bool { text.hasPrefix("https://") || text.hasPrefix("http://") }

  private static func fetch(_ url: String) async throws -> [UInt8] {
    var request = HTTPClientRequest(url: url)
    request.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
    let response = try await client.execute(request, timeout: .seconds(5))
    guard response.status == .ok else { throw PlaneError("\(url) answered \(response.status.code)") }
    let body = try await response.body.collect(upTo: KeySet.bytesMax)
    return Array(body.readableBytesView)
  }

  /// For control traffic only; an answer that leads elsewhere is not followed: keys come from where the file says.
  private static let client = HTTPClient(
    eventLoopGroupProvider: .singleton,
    configuration: HTTPClient.Configuration(
      redirectConfiguration: .disallow, timeout: .init(connect: .seconds(2), read: .seconds(5))))

  /// Looks each second which keys are due, as long as the gate is used.
  private static func keepFresh(_ gate: IdentityGate) {
    let stores = gate.keyStores.compactMap { $0 }
    if stores.isEmpty { return }
    Task.detached { [weak gate] in
      while gate != nil {
        let now = SystemClock.wall().milliseconds / 1000
        for store in stores where store.isDue(now: now) { Task { await store.refresh(now: now) } }
        // Only the rhythm: what is due is decided by the store.
        try? await Task.sleep(nanoseconds: 1_000_000_000)
      }
    }
  }

  // MARK: - Services that are asked

  /// Through the loopback listener, along the gateway's own edge: balancing, breaker, retries and deadline are those of
  /// every call.
  private static func asking(_ forward: ForwardIdentity, plan: Plan, callsPort: Int) -> ForwardAuth {
    let service = plan.services[forward.to.value].name
    let url = "http://127.0.0.1:\(callsPort)/from/\(caller)/call/\(service)\(forward.path.value)"
    let timeout = TimeAmount.nanoseconds(forward.timeout.value.inNanoseconds)
    let shows = forward.show.map(\.value)
    return ForwardAuth(
      shows: shows.isEmpty ? ["authorization", "cookie"] : shows, copies: forward.copy.map(\.value),
      subject: forward.subject?.value, roles: forward.roles?.value
    ) { question in
      var request = HTTPClientRequest(url: url)
      request.headers.add(name: "X-Forwarded-Method", value: question.method)
      request.headers.add(name: "X-Forwarded-Uri", value: question.target)
      request.headers.add(name: "X-Forwarded-Host", value: question.host)
      request.headers.add(name: "X-Forwarded-For", value: question.client)
      for field in question.fields { request.headers.add(name: field.name, value: field.value) }
      let response = try await client.execute(request, timeout: timeout)
      // What it says besides is of no use; it is read so that the connection can stay.
      _ = try? await response.body.collect(upTo: 64 << 10)
      return ForwardAuth.Reply(
        status: Int(response.status.code), fields: response.headers.map { .init(name: $0.name, value: $0.value) })
    }
  }

  /// The names under which the gateway calls the services that it asks.
  static func calls(_ plan: Plan) -> [ProxyConfiguration.CallName] {
    guard let gateway = plan.design.gateways.first else { return [] }
    var names: [ProxyConfiguration.CallName] = []
    for identity in gateway.identities.all {
      guard let forward = identity.forwardAuth,
        let edge = plan.edges.firstIndex(where: {
          $0.caller == .gateway && $0.callee == forward.to.value && $0.call.subset == nil
        }),
        !names.contains(where: { $0.edge == edge })
      else { continue }
      names.append(.init(caller: caller, callee: plan.services[forward.to.value].name, edge: edge))
    }
    return names
  }
}
