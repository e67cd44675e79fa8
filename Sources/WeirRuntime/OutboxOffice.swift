// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import WeirBase
import WeirFlows
import WeirMessaging
import WeirModel
import WeirOutbox
import WeirPlatform
import WeirProxy
import WeirTelemetry
import WeirWire

/// Keeps a relay for each outbox of the plan, each on a thread of its own.
///
/// A relay that stays the same goes on over a reload. A plane that retires stops its relays; until they have ended, those of
/// the next one may send the same rows: they are known by their ids.
final class OutboxOffice: Sendable {
  private struct Relay {
    var outbox: Plan.Outbox
    var driver: OutboxDriver
    /// Where its database is, with what its references stood for when it began; nil: it could not begin.
    var target: String?
    var told: String?
  }

  private struct Shared {
    var relays: [Relay] = []
    var server: ProxyServer?
  }

  /// How long the state process may take to take rows; longer than it takes to start again.
  private static let patience: Int64 = 5_000_000_000

  private let shared = Mutex(Shared())
  private let say: @Sendable (String) -> Void

  /// `say` gets sentences for the log.
  init(say: @escaping @Sendable (String) -> Void) { self.say = say }

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer, folder: String) {
    let api = server.configuration.messaging
    let (before, outboxes) = shared.withLock { shared in
      shared.server = server
      return (shared.relays, plan.outboxes)
    }
    var relays: [Relay] = []
    for outbox in outboxes {
      let target = Result { try OutboxOffice.target(outbox, folder) }
      // A secret that cannot be read now is no reason to end what works.
      if var known = before.first(where: { $0.outbox.isSame(as: outbox) }), known.target != nil,
        ((try? target.get()) ?? known.target) == known.target
      {
        known.driver.use(api)
        known.outbox.place = outbox.place
        relays.append(known)
        continue
      }
      relays.append(begin(outbox, target, api))
    }
    for old in before where !relays.contains(where: { $0.driver === old.driver }) { old.driver.stop() }
    let made = relays
    shared.withLock { $0.relays = made }
  }

  /// Whether a secret that one begins with is another one now, or is there at last.
  func hasMoved(_ plan: Plan, folder: String) -> Bool {
    let relays = shared.withLock { $0.relays }
    return plan.outboxes.contains { outbox in
      guard let known = relays.first(where: { $0.outbox.isSame(as: outbox) }) else { return true }
      guard let target = try? OutboxOffice.target(outbox, folder) else { return false }
      return known.target != target
    }
  }

  /// A file's path, or a connection, with what its references stand for.
  private static func target(_ outbox: Plan.Outbox, _ folder: String) throws -> String {
    switch outbox.database {
    case .sqlite(let path): Files.resolve(path, in: folder)
    case .postgres(let text): try References.resolve(text, folder: folder)
    }
  }

  private func begin(_ outbox: Plan.Outbox, _ target: Result<String, any Error>, _ api: MessagingAPI) -> Relay {
    var settings = OutboxRelay.Settings()
    // PostgreSQL says when something was written.
    if case .postgres = outbox.database { settings.poll = .seconds(1) }
    let driver = OutboxDriver(name: outbox.name, api: api, settings: settings, ask: { [self] in ask($0) })
    let table = OutboxTable(name: outbox.table)
    do {
      let target = try target.get()
      switch outbox.database {
      case .sqlite: try driver.start { SQLiteOutbox(path: target, table: table) }
      case .postgres:
        let name = "the database of \(outbox.name)"
        try driver.start { PostgresOutbox(target: target, database: name, table: table) }
      }
      return Relay(outbox: outbox, driver: driver, target: target)
    } catch {
      // A secret that is missing: the next reload looks for it again.
      driver.refuse(because: "\(error)")
      return Relay(outbox: outbox, driver: driver)
    }
  }

  /// Called on a relay's own thread, which waits.
  private func ask(_ request: StateRequest) -> StateReply? {
    guard let server = shared.withLock({ $0.server }) else { return nil }
    let box = AnswerBox()
    Task { box.put(await server.ask(request, within: OutboxOffice.patience)) }
    return box.take()
  }

  /// Nothing more is sent.
  func stop() {
    for relay in shared.withLock({ $0.relays }) { relay.driver.stop() }
  }

  /// As they are now; nil where there is none.
  ///
  /// New troubles are told.
  func look() -> [Status.Outbox]? {
    var said: [String] = []
    let found = shared.withLock { shared in
      shared.relays.indices.map { i in
        let relay = shared.relays[i]
        let report = relay.driver.report
        if report.problem != relay.told {
          shared.relays[i].told = report.problem
          said.append("\(relay.outbox.words): \(report.problem ?? "all is sent again")")
        }
        return Status.Outbox(
          store: relay.outbox.name, table: relay.outbox.table, waiting: report.counts.waiting,
          oldest: report.counts.oldest, sent: report.sent, failed: report.refused, aside: report.aside,
          problem: report.problem)
      }
    }
    for text in said { say(text) }
    return found.isEmpty ? nil : found
  }
}

/// Hands one answer from a task to a thread that waits for it.
private final class AnswerBox: Sendable {
  private let answer = Mutex<StateReply?>(nil)
  private let isThere = DispatchSemaphore(value: 0)

  func put(_ reply: StateReply?) {
    answer.withLock { $0 = reply }
    isThere.signal()
  }

  func take() -> StateReply? {
    isThere.wait()
    return answer.withLock { $0 }
  }
}

extension Plan.Outbox {
  /// What a sentence about it begins with.
  fileprivate var words: String { "\(place): outbox of \(name)" }

  fileprivate func isSame(as other: Plan.Outbox) -> Bool {
    name == other.name && database == other.database && table == other.table
  }
}

extension Plane {
  /// What waits in outboxes, for metrics.
  static func outboxFamilies(_ outboxes: [Status.Outbox]) -> [Snapshot.Family] {
    if outboxes.isEmpty { return [] }
    var rows = Snapshot.Family("weir_outbox_rows", .gauge, "Rows of an outbox that are not sent yet.")
    var oldest = Snapshot.Family(
      "weir_outbox_oldest_seconds", .gauge, "How old the oldest row is; 0 when there is none.")
    var sent = Snapshot.Family("weir_outbox_sent_total", .counter, "Rows that were sent and deleted.")
    var failed = Snapshot.Family(
      "weir_outbox_failed_total", .counter, "Sends that were refused, or that nobody answered.")
    var aside = Snapshot.Family("weir_outbox_left_out", .gauge, "Rows that nobody could ever take.")
    for outbox in outboxes {
      let label = [(name: "store", value: outbox.store)]
      rows.add(label, Double(outbox.waiting))
      oldest.add(label, outbox.oldest ?? 0)
      sent.add(label, Double(outbox.sent))
      failed.add(label, Double(outbox.failed))
      aside.add(label, Double(outbox.aside))
    }
    return [rows, oldest, sent, failed, aside]
  }
}
