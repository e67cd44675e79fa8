// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirIdentity
import WeirPatterns
import WeirWire

/// Rate limits: what they count by, and what a client is told of them.
extension ClientConnection {
  /// Asks a limit of the plan; of several that were asked, the one that is nearest to its end is told.
  func ask(limit: Int, _ given: UInt64, now: Instant) -> LimitAnswer {
    var key = given
    if limit < epoch.configuration.limitKeys.count, let source = epoch.configuration.limitKeys[limit] {
      key = self.key(source) ?? given
    }
    let (answer, reading) = epoch.shared.rates[limit].table.withLock { $0.ask(key, now: now) }
    let isNearer = limitAsked < 0 || share(reading) < share(limitReading)
    if isNearer || answer != .allowed {
      limitAsked = Int32(limit)
      limitReading = reading
    }
    return answer
  }

  private func share(_ reading: LimitReading) -> Double { Double(reading.remaining) / Double(max(1, reading.limit)) }

  /// A keyed hash of the field or cookie; nil when the request has none of it, or several.
  private func key(_ source: ProxyConfiguration.LimitKey) -> UInt64? {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    switch source {
    case .claim(let index):
      guard let principal, index < principal.claimKeys.count else { return nil }
      return principal.claimKeys[index]
    case .cookie(let name): return Cookies.find(bytes, head, name).run.map { hash(bytes, $0) }
    case .header(let names):
      var found: UInt64?
      var fields = Fields(head)
      while let field = fields.next(bytes) {
        guard names.index(bytes, field.name) >= 0 else { continue }
        // Two of them: whoever could choose which one counts would not be limited.
        if found != nil { return nil }
        found = hash(bytes, field.value)
      }
      return found
    }
  }

  /// FNV-1a over the salt of this node and the value: nobody outside can choose two values of one key.
  private func hash(_ bytes: Span<UInt8>, _ run: Run) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ epoch.configuration.seed
    for i in Int(run.start)..<Int(run.end) { hash = (hash ^ UInt64(bytes[i])) &* 0x0000_0100_0000_01b3 }
    return hash
  }

  /// `RateLimit` and `RateLimit-Policy`, on what is allowed as on what is refused.
  func appendLimit() {
    loop.scratch.appendRateLimit(
      quota: Int64(limitReading.limit), window: limitReading.windowSeconds, remaining: Int64(limitReading.remaining),
      reset: limitReading.resetSeconds)
  }
}
