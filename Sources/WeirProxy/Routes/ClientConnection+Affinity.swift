// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirIdentity
package import WeirPatterns
import WeirWire

/// What of a request keeps it at one instance.
package enum AffinityKey: Sendable, Equatable {
  case client, path
  /// In lower case.
  case header([UInt8])
  case cookie([UInt8])
  case query([UInt8])
}

/// The cookie that keeps a client at its instance.
package struct StickyRule: Sendable {
  package var name: [UInt8]
  package var cookie: StickyCookie

  package init(name: String, cookie: StickyCookie) {
    self.name = Array(name.utf8)
    self.cookie = cookie
  }
}

extension Epoch {
  /// By edge: something of its requests decides which instance they go to.
  static func choosy(_ configuration: ProxyConfiguration) -> [Bool] {
    configuration.plan.edges.map { edge in
      edge.service < configuration.affinities.count && configuration.affinities[edge.service] != nil
        || edge.service < configuration.stickies.count && configuration.stickies[edge.service] != nil
    }
  }
}

extension ClientConnection {
  /// Reads what keeps the request at one instance, while its head is still at hand.
  @inline(never)
  func readAffinity(_ edge: Int, _ target: Run, into facts: inout RequestFacts) {
    let service = epoch.edgeServices[edge]
    let configuration = epoch.configuration
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    if service < configuration.affinities.count, let key = configuration.affinities[service] {
      facts.affinity = affinity(key, facts, target, bytes)
    }
    guard service < configuration.stickies.count, let rule = configuration.stickies[service] else { return }
    isSticky = true
    home = CallStep.nobody
    if case .one(let run) = Cookies.find(bytes, head, rule.name),
      case .named(let index) = rule.cookie.read(bytes.extracting(run.range))
    {
      home = UInt16(index)
    }
    facts.home = home
  }

  /// A hash that is never 0, which means none; what comes twice names nothing.
  private func affinity(
    _ key: AffinityKey, _ facts: RequestFacts, _ target: Run, _ bytes: Span<UInt8>
  ) -> UInt64 {
    switch key {
    case .client: return clientAffinity(facts)
    case .path:
      // What a service calls begins behind the names of both.
      let start = Int(target.start)
      return hash(bytes, start..<max(start, min(Int(head.path.end), Int(target.end))))
    case .cookie(let name):
      guard case .one(let run) = Cookies.find(bytes, head, name) else { return 0 }
      return hash(bytes, run.range)
    case .query(let name):
      guard !head.query.isEmpty, case .one(let run) = Query.find(bytes, head.query, name) else { return 0 }
      return hash(bytes, run.range)
    case .header(let name):
      var found: Run?
      var fields = Fields(head)
      while let field = fields.next(bytes) {
        guard ClientConnection.isNamed(bytes, field.name.range, name) else { continue }
        if found != nil { return 0 }
        found = field.value
      }
      return found.map { hash(bytes, $0.range) } ?? 0
    }
  }

  /// Whom an identity knows, or the address; 0 for calls between services, but for those of a composed answer.
  func clientAffinity(_ facts: RequestFacts) -> UInt64 {
    if let key = inner?.clientKey { return key }
    if let principal { return principal.facts(access: -1).client | 1 }
    return facts.client == 0 ? 0 : facts.client | 1
  }

  /// What keeps a TCP connection at one instance: nothing is known of it but where it comes from.
  func tcpAffinity(_ edge: Int) -> UInt64 {
    let service = epoch.edgeServices[edge]
    let affinities = epoch.configuration.affinities
    return service < affinities.count && affinities[service] == .client && !peer.isUnknown ? peer.key | 1 : 0
  }

  private func hash(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
    range.isEmpty ? 0 : epoch.configuration.affinityHash.hash(bytes.extracting(range)) | 1
  }

  private static func isNamed(_ bytes: Span<UInt8>, _ range: Range<Int>, _ name: [UInt8]) -> Bool {
    guard range.count == name.count else { return false }
    for i in 0..<name.count {
      let byte = bytes[range.lowerBound + i]
      let lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
      if lower != name[i] { return false }
    }
    return true
  }

  /// The cookie of the instance that answers, for a client that had none or whose instance is gone.
  @inline(never)
  func appendStickyCookie(_ upstream: UpstreamConnection) {
    let service = epoch.edgeServices[edge]
    // A failure is no answer of somebody whom a client should stay with.
    guard upstream.head.status < 500, instance != CallStep.nobody, instance != home,
      let rule = epoch.configuration.stickies[service]
    else { return }
    if home != CallStep.nobody {
      // It serves and another answered: it had no place, or the attempt was made to find something out.
      let serves = epoch.flows.state.upstreams[edge].view.serving.contains(home)
      guard rule.cookie.decide(.named(Int(home)), standing: serves ? .full : .away) == .choose else { return }
    }
    var code: [UInt8] = []
    rule.cookie.write(Int(instance), into: &code)
    loop.scratch.append("Set-Cookie: ")
    loop.scratch.append(rule.name)
    loop.scratch.append("=")
    loop.scratch.append(code)
    loop.scratch.append("; Path=/; HttpOnly; SameSite=Lax")
    if isSecure { loop.scratch.append("; Secure") }
    loop.scratch.append("\r\n")
  }
}
