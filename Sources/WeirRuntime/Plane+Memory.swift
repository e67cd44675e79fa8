// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirTelemetry

/// `gateway.memory`: how much of the machine's memory this process may hold.
extension Plane {
  /// Gives the proxy what it needs to look; throws where the bound could not be kept, or would keep everybody out.
  func boundMemory(_ configuration: inout ProxyConfiguration) throws(PlaneError) {
    guard let memory = configuration.memory else { return }
    let own = ownMemory
    guard let held = own.held else { throw PlaneError("gateway.memory: this system does not tell how much is held") }
    guard Double(held) < Double(memory.limit) * memory.pauseAt else {
      throw PlaneError(
        "gateway.memory is \(Plane.mebi(memory.limit)), and \(Plane.mebi(held)) are held already: "
          + "from \(Plane.mebi(Int(Double(memory.limit) * memory.pauseAt))) on nobody would be let in")
    }
    configuration.heldMemory = { own.held }
  }

  private static func mebi(_ bytes: Int) -> String { "\((bytes + (1 << 19)) >> 20) MiB" }

  /// Says what has changed since the last look, and gives back pages that nobody uses where they stand for the bound.
  func tellOfMemory(_ watch: MemoryWatch) {
    guard let bound = watch.bound else {
      memoryLevel = .open
      return
    }
    let now = SystemClock.now()
    // The bound is of what is in use; what the heap keeps beyond that is the machine's again, at most every 10 s.
    if bound.level == .open, now.since(trimmedAt) > 10_000_000_000, let resident = OwnMemory.resident,
      Double(resident) > Double(bound.settings.limit) * bound.settings.pauseAt
    {
      trimmedAt = now
      OwnMemory.trim()
    }
    if bound.level == memoryLevel { return }
    memoryLevel = bound.level
    let amount = "\(Plane.mebi(bound.held)) of \(Plane.mebi(bound.settings.limit)) are held"
    switch bound.level {
    case .open: journal.say("memory: \(amount): everybody is let in again")
    case .pausing: journal.say("memory: \(amount): bodies of requests and new connections wait")
    case .refusing: journal.say("memory: \(amount): requests are refused (overloaded)")
    }
  }

  func memoryFamilies() -> [Snapshot.Family] {
    guard let watch = server?.memory, let bound = watch.bound else { return [] }
    var held = Snapshot.Family("weir_memory_held_bytes", .gauge, "What the process holds, at the last look.")
    held.add([], Double(bound.held))
    var limit = Snapshot.Family("weir_memory_limit_bytes", .gauge, "What it may hold: gateway.memory.")
    limit.add([], Double(bound.settings.limit))
    var times = Snapshot.Family(
      "weir_memory_short_total", .counter, "How often memory was short, by what was done: wait, refuse.")
    times.add([(name: "answer", value: "wait")], Double(watch.pauses))
    times.add([(name: "answer", value: "refuse")], Double(watch.refusals))
    return [held, limit, times]
  }
}
