// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import WeirBase
import WeirCertificates
import WeirFlows
package import WeirIdentity
import WeirPatterns
import WeirWire

/// Who may come through the gateway's routes: what the flows ask, and what goes on of the answer.
package struct AccessConfiguration: Sendable {
  /// By access of the plan: networks that a request must come from; empty for any.
  package var addresses: [[AddressRange]]
  /// By access of the plan: field lines of `WWW-Authenticate`, for a 401.
  package var challenges: [[UInt8]]
  package var gate: IdentityGate
  /// Names of fields that identities write: what callers send in them never goes on, whatever route they take.
  let ours: FieldNames
  /// By identity: the fields that carry its credentials, to be dropped when they do not go on.
  let carriers: [FieldNames]
  /// By identity: whether credentials stay on this side.
  let strips: [Bool]

  /// Throws when a name is none of a field.
  package init(
    gate: IdentityGate, addresses: [[AddressRange]], identitiesOfAccesses: [[Int]], realm: String
  ) throws {
    self.gate = gate
    self.addresses = addresses
    var ours: [String] = []
    for identity in gate.identities {
      ours += identity.fields.map(\.name)
      if case .forward(let forward) = identity.kind { ours += forward.copies }
    }
    self.ours = try FieldNames(Array(Set(ours)).sorted(), forEdits: true)
    carriers = try gate.identities.map { try FieldNames([AccessConfiguration.carrier($0)]) }
    strips = gate.identities.map { !$0.forwards }
    challenges = identitiesOfAccesses.map { identities in
      var schemes: [String] = []
      for identity in identities {
        let scheme = AccessConfiguration.challenge(gate.identities[identity], realm: realm)
        if !schemes.contains(scheme) { schemes.append(scheme) }
      }
      return Array(schemes.map { "WWW-Authenticate: \($0)\r\n" }.joined().utf8)
    }
  }

  private static func carrier(_ identity: IdentitySettings) -> String {
    switch identity.kind {
    case .token(_, _, let field): field ?? "authorization"
    case .apiKey(_, let field): field
    // A certificate is no field: nothing is dropped, and nobody sends a field of this name on purpose.
    case .certificate: "weir-none"
    case .webhook: ReceivedWebhooks.signatureField
    case .basic, .signature, .forward: "authorization"
    }
  }

  /// RFC 9110 §11.6.1: a 401 names a way of saying who one is.
  private static func challenge(_ identity: IdentitySettings, realm: String) -> String {
    switch identity.kind {
    case .token, .forward: "Bearer realm=\"\(realm)\""
    case .apiKey(_, let field): "API-Key realm=\"\(realm)\", header=\"\(field)\""
    case .basic: "Basic realm=\"\(realm)\", charset=\"UTF-8\""
    case .signature: "\(SignedRequests.scheme) realm=\"\(realm)\""
    case .certificate: "Client-Certificate realm=\"\(realm)\""
    case .webhook: "Standard-Webhooks realm=\"\(realm)\""
    }
  }
}

/// Who the caller is: asked of the identities that the flow names, one after another.
extension ClientConnection {
  /// Whether the caller's address is none of those that the route takes.
  @inline(__always)
  func isOutside(route: Int) -> Bool {
    guard let access = epoch.configuration.plan.routes[route].access else { return false }
    return !isInside(access: access)
  }

  /// Behind a trusted proxy the address that counts is the one it saw; what cannot be read is outside.
  @inline(never)
  private func isInside(access: Int) -> Bool {
    guard let configuration = epoch.configuration.access else { return false }
    let ranges = configuration.addresses[access]
    if ranges.isEmpty { return true }
    guard let address = clientAddress() else { return false }
    return ranges.contains { $0.contains(address) }
  }

  private func clientAddress() -> PeerAddress? {
    if !sender.contains(.proxy) { return peer }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var hops =
      head.forwardedFor.count > 0
      ? ForwardedHops(forwardedFor: head.forwardedFor) : ForwardedHops(forwarded: head.forwarded)
    var nearest = peer
    while true {
      switch hops.next(bytes) {
      case .end: return nearest
      case .unknown: return nil
      case .address(let address):
        nearest = PeerAddress(address)
        if !epoch.configuration.trusted.contains(where: { $0.contains(nearest) }) { return nearest }
      }
    }
  }

  /// What an identity says of the request whose head stands at the start of `input`; nil when the answer comes later.
  func ask(identity: Int, now: Instant) -> IdentityAnswer? {
    guard let access = epoch.configuration.access else { return .unavailable }
    let gate = access.gate
    if case .webhook(let webhooks) = gate.identities[identity].kind {
      return ask(gate, identity, webhooks, now: now)
    }
    guard let reply = question(gate, identity, now: now) else { return .missing }
    return taken(reply, of: identity, now: now)
  }

  /// Nil when the answer comes later.
  func taken(_ reply: IdentityReply, of identity: Int, now: Instant) -> IdentityAnswer? {
    switch reply {
    case .now(let verdict): return answer(verdict, now: now)
    case .later(let work):
      later(work, identity: identity)
      return nil
    }
  }

  /// Nil when the request carries nothing for this identity.
  private func question(_ gate: IdentityGate, _ identity: Int, now: Instant) -> IdentityReply? {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    switch gate.identities[identity].kind {
    case .token(_, _, let field):
      guard let field else {
        switch Credentials.read(bytes, head, scratch: &loop.scratch) {
        case .bearer(let run): return gate.ask(identity, secret: bytes.extracting(run.range))
        case .malformed: return .now(.invalid)
        case .none, .basic, .other: return nil
        }
      }
      return secret(gate, identity, field, bytes)
    case .apiKey(_, let field):
      if isBraked(now: now) { return .now(.unavailable) }
      return secret(gate, identity, field, bytes)
    case .basic:
      switch Credentials.read(bytes, head, scratch: &loop.scratch) {
      case .basic(let user, let password):
        if isBraked(now: now) { return .now(.unavailable) }
        let storage = loop.scratch.storage
        let decoded = storage.span
        return gate.ask(
          identity, user: decoded.extracting(user.range), password: decoded.extracting(password.range))
      case .malformed: return .now(.invalid)
      case .none, .bearer, .other: return nil
      }
    case .signature:
      guard case .other(let scheme, let rest) = Credentials.read(bytes, head, scratch: &loop.scratch),
        text(bytes, scheme.range).lowercased() == SignedRequests.scheme.lowercased()
      else { return nil }
      if isBraked(now: now) { return .now(.unavailable) }
      let digest: String
      switch Fields(head).find(bytes, "content-digest") {
      case .none: digest = ""
      case .one(let run): digest = text(bytes, run.range)
      case .many: return .now(.invalid)
      }
      return gate.ask(
        identity, signature: text(bytes, rest.range),
        SignedRequests.Request(
          method: text(bytes, head.methodRun.range), target: text(bytes, head.target.range),
          host: text(bytes, head.host.range), digest: digest, hasBody: head.framing != .none))
    case .certificate:
      guard let evidence = certificateEvidence() else { return nil }
      return gate.ask(identity, certificate: evidence)
    case .forward(let forward):
      return gate.ask(identity, question(forward, bytes))
    // Its body comes first.
    case .webhook: return nil
    }
  }

  /// The verified certificate of the connection; none over plain HTTP.
  private func certificateEvidence() -> ClientCertificates.Evidence? {
    guard let certificate = secure?.certificate else { return nil }
    return ClientCertificates.Evidence(
      names: certificate.names, subject: certificate.subject, fingerprint: certificate.fingerprint)
  }

  private func secret(
    _ gate: IdentityGate, _ identity: Int, _ field: String, _ bytes: Span<UInt8>
  ) -> IdentityReply? {
    guard let names = epoch.configuration.access?.carriers[identity] else { return nil }
    var fields = Fields(head)
    var found: Run?
    while let field = fields.next(bytes) {
      if names.index(bytes, field.name) < 0 { continue }
      if found != nil { return .now(.invalid) }
      found = field.value
    }
    guard let found else { return nil }
    return found.isEmpty ? .now(.invalid) : gate.ask(identity, secret: bytes.extracting(found.range))
  }

  private func question(_ forward: ForwardAuth, _ bytes: Span<UInt8>) -> ForwardAuth.Question {
    var shown: [ForwardAuth.Field] = []
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      let name = text(bytes, field.name.range).lowercased()
      if forward.shows.contains(name) { shown.append(.init(name: name, value: text(bytes, field.value.range))) }
    }
    return ForwardAuth.Question(
      method: text(bytes, head.methodRun.range), target: text(bytes, head.target.range),
      host: text(bytes, head.host.range), client: String(decoding: (clientAddress() ?? peer).text, as: UTF8.self),
      fields: shown)
  }

  func text(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
    bytes.extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
  }

  // MARK: - Answers

  func answer(_ verdict: IdentityVerdict, now: Instant) -> IdentityAnswer {
    switch verdict {
    case .missing: return .missing
    case .known(let principal):
      self.principal = principal
      if logged != nil {
        logged?.identity = epoch.configuration.access?.gate.identities[principal.identity].name ?? ""
        logged?.tenant = principal.tenant ?? ""
      }
      return .known(principal.facts(access: epoch.configuration.plan.routes[Int(facts.route)].access ?? -1))
    case .invalid:
      loop.node.failures.withLock { _ = $0.admit(key: facts.client, now: now) }
      return .refused(.identityInvalid)
    case .replayed: return .refused(.replayed)
    case .notAllowed: return .refused(.notAllowed)
    case .unavailable: return isBraked(now: now) ? .refused(.tooManyFailures) : .unavailable
    }
  }

  /// Whether this address has sent so many wrong credentials that no more of them are looked at now.
  func isBraked(now: Instant) -> Bool {
    loop.node.failures.withLock { table in
      if case .refuse = table.gcra.decide(cell: table.cell(of: facts.client), now: now, cost: 1) { return true }
      return false
    }
  }

  /// When wrong credentials of this address are looked at again.
  func braked(until now: Instant) -> Instant {
    loop.node.failures.withLock { table in
      if case .refuse(let until) = table.gcra.decide(cell: table.cell(of: facts.client), now: now, cost: 1) {
        return until
      }
      return now
    }
  }

  /// The answer is made on another thread; until it is here nothing is read beyond what a head may have.
  private func later(_ work: @escaping @Sendable () async -> IdentityVerdict, identity: Int) {
    let slot = requestSlot
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    let eventLoop = loop.eventLoop
    phase = .wait
    Task.detached(executorPreference: OwnThreads.shared) {
      let verdict = await work()
      eventLoop.execute { bound.value.identityAnswered(verdict, slot) }
    }
  }

  private func identityAnswered(_ verdict: IdentityVerdict, _ slot: Slot) {
    // The caller has gone meanwhile, or was given up.
    guard isInWork, slot != .none, requestSlot == slot, call == .none, stage == .body || stage == .waiting else {
      return
    }
    let now = loop.now()
    phase = .head
    carry(epoch.flows.answered(slot, identity: answer(verdict, now: now), now: now), now: now)
    if needsFlush { flush() }
    advance()
  }

  // MARK: - What goes on

  /// Drops what callers may not say of themselves, and credentials that stay here.
  @inline(__always)
  func dropIdentity() {
    if let access = epoch.configuration.access { dropIdentity(access) }
  }

  @inline(never)
  private func dropIdentity(_ access: AccessConfiguration) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    if !access.ours.isEmpty { head.drop(bytes, access.ours) }
    if let principal, access.strips[principal.identity] { head.drop(bytes, access.carriers[principal.identity]) }
  }

  /// The fields that the callee gets of who the caller is.
  @inline(__always)
  func writeIdentity() {
    guard let principal else { return }
    loop.scratch.append(principal.fields)
    self.principal = nil
  }

  /// What a 401 must say.
  func writeChallenge(_ status: UInt16) {
    guard status == 401, requestSlot != .none, let access = epoch.configuration.access,
      let index = epoch.configuration.plan.routes[Int(facts.route)].access
    else { return }
    loop.scratch.append(access.challenges[index])
  }
}

/// Threads for checking signatures and passwords: some take milliseconds, which neither an event loop nor the threads of
/// all other tasks should be kept busy with.
private final class OwnThreads: TaskExecutor {
  static let shared = OwnThreads()

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    NIOThreadPool.singleton.submit { _ in job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
