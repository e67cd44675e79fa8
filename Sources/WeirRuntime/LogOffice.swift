// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirMessaging
import WeirModel
import WeirProxy
import WeirTelemetry
import WeirWire

/// What an operator asks of topics and streams: how far everybody is, what stands in them, and that a group gets it again.
///
/// Like ``QueueOffice``, which has the groups' queues.
final class LogOffice: Sendable {
  /// Entries are put into a group's queue in pieces: a million takes a while.
  static let replayPatience: Int64 = 600_000_000_000
  static let pageMax = 1000

  private let census = Census<(name: String, kind: Status.Log.Kind), Status.Log>()

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer) {
    let logs: [(name: String, kind: Status.Log.Kind)] = plan.logs.map { log in
      switch log.kind {
      case .topic: (log.name, .topic)
      case .stream: (log.name, .stream)
      }
    }
    census.enter(logs, server)
  }

  /// As they were counted last; nil where there is none, or while nobody can say.
  var last: [Status.Log]? { census.last }

  func count() { census.count { await self.all() } }

  /// Those of the file, in its order; nil while nobody can say.
  func all(_ kind: Status.Log.Kind? = nil) async -> [Status.Log]? {
    var logs: [Status.Log] = []
    for log in census.things where kind == nil || log.kind == kind {
      guard case .logCounts(let counts) = await census.ask(.lookLog(log: log.name)) else { return nil }
      logs.append(
        Status.Log(
          name: log.name, kind: log.kind, first: Int(counts.first), last: Int(counts.last), bytes: Int(counts.bytes),
          refused: Int(counts.refused),
          groups: counts.groups.map { group in
            Status.Group(
              name: LogOffice.short(group.name, of: log.name), lag: Int(group.lag), position: Int(group.position),
              inFlight: Int(group.counts.inFlight), dead: Int(group.counts.dead),
              oldest: group.counts.oldest.map { Double($0) / 1000 }, paused: group.counts.isPaused,
              order: group.counts.order.map {
                Status.Group.Order(
                  keeping: Int($0.keeping), gaps: Int($0.gaps), kept: Int($0.kept), copies: Int($0.copies),
                  skipped: Int($0.skipped), late: Int($0.late))
              })
          }))
    }
    return logs
  }

  /// `mails` of `order-events.mails`; of another's queue, as a webhook's endpoint, the whole name.
  private static func short(_ queue: String, of log: String) -> String {
    queue.hasPrefix("\(log).") ? String(queue.dropFirst(log.utf8.count + 1)) : queue
  }

  private func has(_ kind: Status.Log.Kind, _ name: String) -> Bool {
    census.things.contains { $0.name == name && $0.kind == kind }
  }

  // MARK: - Entries

  enum Page {
    case events(Status.LogEvents)
    /// There is no such log, or what was asked is not understood; a sentence.
    case wrong(String)
    case unanswered
  }

  func events(_ kind: Status.Log.Kind, _ name: String, _ query: Status.LogQuery) async -> Page {
    guard has(kind, name) else { return .wrong(unknown(kind, name)) }
    let limit = min(max(1, query.limit), LogOffice.pageMax)
    let key = query.key.map { Array($0.utf8) }
    if let key, key.isEmpty || key.count > QueueLimits.keyBytesMax { return .wrong("that is no key of a stream") }
    if let after = query.after, after < 0 { return .wrong("a position is not negative") }
    var after = query.after ?? 0
    if let from = query.from {
      guard key == nil, query.after == nil else { return .wrong("a time goes with neither a key nor a position") }
      guard let position = await position(name, at: from) else {
        return TimeText.point(from) == nil ? .wrong(LogOffice.noTime(from)) : .unanswered
      }
      after = position - 1
    } else if query.after == nil, key == nil {
      guard case .logCounts(let counts) = await census.ask(.lookLog(log: name)) else { return .unanswered }
      after = max(0, counts.last - Int64(limit))
    }
    let reply = await census.ask(.read(log: name, key: key, after: after, limit: UInt16(limit), wait: 0))
    guard case .entries(let entries) = reply else { return .unanswered }
    let next = key == nil ? entries.last?.position : entries.last?.version
    return .events(
      Status.LogEvents(events: entries.map(LogOffice.event), next: entries.count == limit ? next : nil))
  }

  private static func event(_ entry: LogEntry) -> Status.LogEvent {
    func text(_ bytes: [UInt8]) -> String? { bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self) }
    var event = Status.LogEvent(
      position: entry.position, version: entry.version > 0 ? entry.version : nil,
      at: WallTime(milliseconds: entry.at).rfc3339, id: String(decoding: entry.id, as: UTF8.self),
      key: text(entry.key), type: text(entry.type),
      fields: String(decoding: entry.fields, as: UTF8.self).split(separator: "\r\n").map(String.init))
    if let body = String(validating: entry.body, as: UTF8.self) {
      event.body = body
    } else {
      event.base64 = Data(entry.body).base64EncodedString()
    }
    return event
  }

  /// The first position at or after a time; nil for what is none, or when nobody answers.
  private func position(_ name: String, at time: String) async -> Int64? {
    guard let point = TimeText.point(time) else { return nil }
    let reply = await census.ask(.seek(log: name, time: point.milliseconds))
    guard case .position(let position) = reply else { return nil }
    return position
  }

  private static func noTime(_ text: String) -> String {
    "'\(text)' is no point of time; write it as 2026-11-22T09:00:00Z"
  }

  // MARK: - Orders

  func replay(
    _ kind: Status.Log.Kind, _ name: String, _ group: String, _ order: Status.ReplayOrder
  ) async -> Status.QueueOutcome {
    func refused(_ text: String) -> Status.QueueOutcome { Status.QueueOutcome(isDone: false, text: text) }
    guard has(kind, name) else { return refused(unknown(kind, name)) }
    var from = order.from
    if let time = order.time {
      if from != nil { return refused("a position and a time: one of them says where to begin") }
      guard TimeText.point(time) != nil else { return refused(LogOffice.noTime(time)) }
      from = await position(name, at: time)
      if from == nil { return refused(LogOffice.silence) }
    }
    guard let from, from >= 1, from <= order.to ?? .max else {
      return refused("say from which position on, 1 or more, or from which time")
    }
    guard case .logCounts(let counts) = await census.ask(.lookLog(log: name)) else { return refused(LogOffice.silence) }
    guard let queue = counts.groups.map(\.name).first(where: { LogOffice.short($0, of: name) == group }) else {
      let groups = counts.groups.map { LogOffice.short($0.name, of: name) }
      return refused(
        "the \(kind.rawValue) '\(name)' has no group '\(group)'"
          + (groups.isEmpty ? "" : "; it has: \(groups.joined(separator: ", "))"))
    }
    let reply = await census.ask(
      .replay(log: name, group: queue, from: from, to: order.to), within: LogOffice.replayPatience)
    switch reply {
    case .steered(let count):
      return Status.QueueOutcome(
        isDone: true, count: Int(count),
        text: "\(count) event\(count == 1 ? "" : "s") of '\(name)' \(count == 1 ? "goes" : "go") to '\(group)' again")
    case .queueFull: return refused("the queue of '\(group)' has no room for more; what was put in is in")
    case .failed(.full): return refused("there is no room on the disk")
    case .failed(.sorted):
      return refused(
        "'\(group)' gets events in the order of their numbers (sequence), and those of what it has heard have passed; "
          + "a new group with 'sequence' left out can hear them again")
    default: return refused(LogOffice.silence)
    }
  }

  private static let silence = "the state process does not answer; see logs/weir.state.log in the state folder"

  private func unknown(_ kind: Status.Log.Kind, _ name: String) -> String {
    let names = census.things.filter { $0.kind == kind }.map(\.name)
    return "there is no \(kind.rawValue) '\(name)'"
      + (names.isEmpty ? "" : "; there are: \(names.joined(separator: ", "))")
  }
}

extension Plane {
  /// How long logs are, and how far those who read them have come, for metrics.
  static func logFamilies(_ logs: [Status.Log]) -> [Snapshot.Family] {
    if logs.isEmpty { return [] }
    var entries = Snapshot.Family("weir_log_entries", .gauge, "Entries of a topic or stream that can be read.")
    var bytes = Snapshot.Family("weir_log_bytes", .gauge, "Payload of the entries that can be read.")
    var first = Snapshot.Family("weir_log_first_position", .gauge, "The position of the first entry that can be read.")
    var last = Snapshot.Family("weir_log_last_position", .gauge, "The position of the last entry; 0 before the first.")
    var refused = Snapshot.Family(
      "weir_log_appends_refused_total", .counter,
      "Appends that were refused because a group was too far behind, since the state process has started.")
    var lag = Snapshot.Family("weir_group_lag", .gauge, "Entries that a group has not done.")
    var position = Snapshot.Family("weir_group_position", .gauge, "All entries up to here are done, or dead.")
    var dead = Snapshot.Family("weir_group_dead", .gauge, "Entries that a group has given up.")
    var inFlight = Snapshot.Family("weir_group_in_flight", .gauge, "Entries that a group works on.")
    var oldest = Snapshot.Family(
      "weir_group_oldest_seconds", .gauge, "How long a group's oldest entry waits that may be taken; 0 when none does.")
    var sorted = SortedFamilies()
    for log in logs {
      let label = [(name: "log", value: log.name), (name: "kind", value: log.kind.rawValue)]
      entries.add(label, Double(log.entries))
      bytes.add(label, Double(log.bytes))
      first.add(label, Double(log.first))
      last.add(label, Double(log.last))
      refused.add(label, Double(log.refused))
      for group in log.groups {
        let label = [(name: "log", value: log.name), (name: "group", value: group.name)]
        lag.add(label, Double(group.lag))
        position.add(label, Double(group.position))
        dead.add(label, Double(group.dead))
        inFlight.add(label, Double(group.inFlight))
        oldest.add(label, group.oldest ?? 0)
        if let order = group.order { sorted.add(label, order) }
      }
    }
    let groups = logs.allSatisfy(\.groups.isEmpty) ? [] : [lag, position, inFlight, dead, oldest]
    return [entries, bytes, first, last, refused] + groups + sorted.all
  }

  /// What has become of the events of groups that are sorted.
  private struct SortedFamilies {
    var keeping = Snapshot.Family(
      "weir_group_kept", .gauge, "Events of a group that are kept until those before them have come.")
    var gaps = Snapshot.Family("weir_group_gaps", .gauge, "Keys of a group in which an event is missing.")
    var kept = Snapshot.Family(
      "weir_group_kept_total", .counter, "Events that were kept until those before them had come.")
    var copies = Snapshot.Family(
      "weir_group_copies_total", .counter, "Events that a group was not given, for they had come before.")
    var skipped = Snapshot.Family(
      "weir_group_skipped_total", .counter, "Numbers of events that were not waited for any longer.")
    var late = Snapshot.Family(
      "weir_group_late_total", .counter, "Events that are dead, for they came when those behind them had gone on.")
    var isAny = false

    mutating func add(_ label: [(name: String, value: String)], _ order: Status.Group.Order) {
      isAny = true
      keeping.add(label, Double(order.keeping))
      gaps.add(label, Double(order.gaps))
      kept.add(label, Double(order.kept))
      copies.add(label, Double(order.copies))
      skipped.add(label, Double(order.skipped))
      late.add(label, Double(order.late))
    }

    var all: [Snapshot.Family] { isAny ? [keeping, gaps, kept, copies, skipped, late] : [] }
  }
}
