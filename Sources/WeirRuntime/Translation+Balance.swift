// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy

/// What of requests decides which instance they go to.
extension Translation {
  static func balance(_ configuration: inout ProxyConfiguration, _ plan: Plan, _ settings: RunSettings) {
    let services = plan.design.services
    configuration.affinities = services.map { service in
      switch service.balancing.readsKey {
      case nil: nil
      case .client: .client
      case .path: .path
      case .header(let name): .header(Array(name.utf8))
      case .cookie(let name): .cookie(Array(name.utf8))
      case .query(let name): .query(Array(name.utf8))
      }
    }
    guard configuration.affinities.contains(where: { $0 != nil }) || services.contains(where: { $0.sticky != nil })
    else { return }
    let hash = affinityHash(state: settings.state)
    configuration.affinityHash = hash
    configuration.stickies = services.enumerated().map { index, service in
      service.sticky.map { sticky in
        var cookie = StickyCookie.Settings()
        cookie.away = sticky.away.value == .move ? .move : .borrow
        return StickyRule(
          name: sticky.name?.value ?? "weir-at-\(service.name.text)",
          cookie: StickyCookie(cookie, hash: hash, service: service.name.text, names: plan.instanceNames(index)))
      }
    }
  }

  /// By the secret of the state folder, so that keys and cookies lead to the same instances after a restart.
  ///
  /// Where it can be neither read nor written they hold as long as this process.
  static func affinityHash(state: String) -> KeyedHash {
    let path = state + "/affinity.key"
    var bytes = (try? Files.bytes(path)) ?? []
    if bytes.count != 16 {
      bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
      // Unwritten it is as good for this process.
      try? Files.replace(path, with: bytes)
    }
    func word(_ from: Int) -> UInt64 { bytes[from..<from + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    return KeyedHash(secret: word(0), word(8))
  }
}
