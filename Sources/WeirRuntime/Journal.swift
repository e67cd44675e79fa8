// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirFlows
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// What the plane says: lines for people, through the keeper or into the live view; the access log as JSON.
///
/// Nothing here waits for a reader. Guarded by a lock, for the end of the process may speak while a tick writes.
final class Journal: Sendable {
  /// How many of its last lines the live view shows.
  private static let recentMax = 8

  private struct State {
    var file: LogFile?
    /// Where the access log goes when it goes to the output.
    var output: Console?
    /// A write failed, and was told: the next success is told as well.
    var isFailing = false
    var recent: [String] = []
    /// By plan: the names of its ids; the newest is the last.
    var logs: [(epoch: Int, log: AccessLog)] = []
  }

  private let settings: RunSettings
  private let client: KeeperClient
  private let state: Mutex<State>

  init(settings: RunSettings, names: Names, client: KeeperClient) {
    self.settings = settings
    self.client = client
    state = Mutex(
      State(
        file: settings.accessLog == .file ? LogFile(path: settings.state + "/logs/access.log") : nil,
        // Without an output there is nobody to read the log.
        output: settings.accessLog == .output ? try? Console(1) : nil, logs: [(0, AccessLog(names: names))]))
  }

  /// A line for people; `events` of the system and what is wrong among them.
  func say(_ text: String) {
    guard settings.live else {
      client.send(.say(text: text))
      return
    }
    state.withLock { state in
      state.recent.append(text)
      if state.recent.count > Journal.recentMax { state.recent.removeFirst() }
    }
  }

  /// The last lines, for the live view.
  var recent: [String] { state.withLock { $0.recent } }

  /// A changed plan: its ids have these names from now on.
  ///
  /// Requests may still end by those before it.
  func enter(epoch: Int, names: Names) {
    state.withLock { state in
      state.logs.append((epoch, AccessLog(names: names)))
      // More plans than this are never in use by anything but tunnels of days, whose lines then say other names.
      if state.logs.count > 64 { state.logs.removeFirst() }
    }
  }

  private func log(of epoch: Int) -> AccessLog? {
    state.withLock { state in (state.logs.last { $0.epoch == epoch } ?? state.logs.last)?.log }
  }

  func event(_ event: Event, text: String, at: WallTime) {
    // The live view has events of its own.
    if !settings.live { say(text) }
    if let log = log(of: .max) { write(log.line(event, at: at)) }
  }

  /// The requests that a loop has finished since the last time.
  func access(_ report: ProxyServer.LoopReport, now: Instant, wall: WallTime) {
    guard settings.accessLog != .off else { return }
    // Records of older plans stand apart, so they are found by their tags.
    var entries: [UInt64: AccessEntry] = [:]
    for entry in report.access { entries[entry.tag] = entry }
    var lines: [UInt8] = []
    for (epoch, records) in report.oldRecords + [(report.epoch, report.records)] {
      guard let log = log(of: epoch) else { continue }
      for record in records {
        guard let entry = entries[record.tag] else { continue }
        let at = WallTime(milliseconds: wall.milliseconds - now.since(record.startedAt) / 1_000_000)
        var facts = AccessFacts(
          method: entry.method, path: entry.path, host: entry.host, client: entry.client,
          traceId: entry.traceHigh | entry.traceLow == 0
            ? "" : Journal.hex(entry.traceHigh) + Journal.hex(entry.traceLow), bytesIn: Int(entry.bytesIn),
          bytesOut: Int(entry.bytesOut))
        facts.requestID = entry.requestID
        facts.identity = entry.identity
        facts.tenant = entry.tenant
        facts.idempotency = entry.idempotency
        lines += log.line(record, facts, at: at)
        if lines.count > 65_536 {
          write(lines)
          lines.removeAll(keepingCapacity: true)
        }
      }
    }
    for entry in report.attempts {
      guard let log = log(of: entry.way?.epoch ?? report.epoch) else { continue }
      let at = WallTime(milliseconds: wall.milliseconds - now.since(entry.startedAt) / 1_000_000)
      lines += log.line(Journal.facts(entry), at: at)
      if lines.count > 65_536 {
        write(lines)
        lines.removeAll(keepingCapacity: true)
      }
    }
    if !lines.isEmpty { write(lines) }
  }

  private static func facts(_ entry: AttemptEntry) -> AttemptFacts {
    let work: AttemptFacts.Work =
      switch entry.work {
      case .queue(let name): .queue(name)
      case .group(let log, let isStream, let group):
        isStream ? .stream(log, projection: group) : .topic(log, group: group)
      case .saga(let name, let step, let isUndo): .saga(name, step: step, isUndo: isUndo)
      case .webhook(let topic, let webhook, let endpoint): .webhook(webhook, topic: topic, endpoint: endpoint)
      }
    var facts = AttemptFacts(
      work: work, message: String(decoding: entry.id, as: UTF8.self), key: String(decoding: entry.key, as: UTF8.self),
      attempt: entry.attempt, count: entry.count, outcome: entry.outcome.rawValue, status: Int(entry.status),
      reason: entry.reason, error: entry.error, duration: entry.duration)
    if let trace = entry.trace {
      facts.traceId = hex(trace.high) + hex(trace.low)
      facts.spanId = hex(trace.span)
    }
    facts.way = entry.way.map { .init(edge: $0.edge, instance: $0.instance, tries: $0.tries) }
    return facts
  }

  private func write(_ lines: [UInt8]) {
    switch settings.accessLog {
    case .off: return
    case .output: state.withLock { $0.output?.line(Array(lines.dropLast())) }
    case .file:
      let told = state.withLock { (state: inout State) -> String? in
        do throws(SystemError) {
          try state.file?.append(Array(lines.dropLast()))
          defer { state.isFailing = false }
          return state.isFailing ? "the access log is written again" : nil
        } catch {
          defer { state.isFailing = true }
          return state.isFailing ? nil : "the access log cannot be written: \(error.reason); requests go on"
        }
      }
      if let told { say(told) }
    }
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
