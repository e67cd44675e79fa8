// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// A topic or a stream, as the state process counts it.
  package struct Log: Sendable, Codable, Equatable {
    package enum Kind: String, Sendable, Codable, CaseIterable { case topic, stream }

    package var name: String
    package var kind: Kind
    /// The positions of its first and last entry; the first is one more than the last when there is none.
    package var first: Int
    package var last: Int
    package var entries: Int
    package var bytes: Int
    /// Entries that were not taken, for a group was too far behind; since the state process has started.
    package var refused: Int
    package var groups: [Group]

    package init(
      name: String, kind: Kind, first: Int, last: Int, bytes: Int, refused: Int, groups: [Group]
    ) {
      self.name = name
      self.kind = kind
      self.first = first
      self.last = last
      entries = max(0, last - first + 1)
      self.bytes = bytes
      self.refused = refused
      self.groups = groups
    }
  }

  /// Who reads a log; its queue stands among the queues, as `<log>.<group>`.
  package struct Group: Sendable, Codable, Equatable {
    package var name: String
    /// Entries that it has not done.
    package var lag: Int
    /// All up to here are done, or dead.
    package var position: Int
    package var inFlight: Int
    package var dead: Int
    /// How long the oldest has waited that could be taken, in seconds; nil when none waits.
    package var oldest: Double?
    package var paused: Bool
    /// Of a group whose events are sorted.
    package var order: Order?

    /// What has become of the events of a group that gets each once, in the order of their numbers.
    package struct Order: Sendable, Codable, Equatable {
      /// Kept now, until those before them have come.
      package var keeping: Int
      /// Keys in which something is missing now.
      package var gaps: Int
      /// Kept until their turn, in all.
      package var kept: Int
      /// Left out, for they had come before.
      package var copies: Int
      /// Numbers that were not waited for any longer.
      package var skipped: Int
      /// Dead, for they came after that.
      package var late: Int

      package init(keeping: Int, gaps: Int, kept: Int, copies: Int, skipped: Int, late: Int) {
        self.keeping = keeping
        self.gaps = gaps
        self.kept = kept
        self.copies = copies
        self.skipped = skipped
        self.late = late
      }
    }

    package init(
      name: String, lag: Int, position: Int, inFlight: Int, dead: Int, oldest: Double?, paused: Bool,
      order: Order? = nil
    ) {
      self.name = name
      self.lag = lag
      self.position = position
      self.inFlight = inFlight
      self.dead = dead
      self.oldest = oldest
      self.paused = paused
      self.order = order
    }
  }

  /// An entry of a log.
  package struct LogEvent: Sendable, Codable, Equatable {
    package var position: Int64
    package var version: Int64?
    package var at: String
    package var id: String
    package var key: String?
    package var type: String?
    /// Lines of the fields that came with it; a body that is no text stands in base64.
    package var fields: [String]
    package var body: String?
    package var base64: String?

    package init(
      position: Int64, version: Int64?, at: String, id: String, key: String?, type: String?, fields: [String]
    ) {
      self.position = position
      self.version = version
      self.at = at
      self.id = id
      self.key = key
      self.type = type
      self.fields = fields
    }
  }

  /// A page of entries, and behind what the next one begins; nil at the end.
  package struct LogEvents: Sendable, Codable, Equatable {
    package var events: [LogEvent]
    package var next: Int64?

    package init(events: [LogEvent], next: Int64?) {
      self.events = events
      self.next = next
    }
  }

  /// What of a log is to be read; without `after` and `from` the last entries.
  package struct LogQuery: Sendable, Codable, Equatable {
    /// Of one stream; then `after` is a version.
    package var key: String?
    package var after: Int64?
    /// A point of time, as RFC 3339 writes it.
    package var from: String?
    package var limit: Int

    package init(key: String? = nil, after: Int64? = nil, from: String? = nil, limit: Int = 20) {
      self.key = key
      self.after = after
      self.from = from
      self.limit = limit
    }
  }

  /// Entries that a group is to get once more: from a position, or from a point of time on.
  package struct ReplayOrder: Sendable, Codable, Equatable {
    package var from: Int64?
    package var time: String?
    package var to: Int64?

    package init(from: Int64? = nil, time: String? = nil, to: Int64? = nil) {
      self.from = from
      self.time = time
      self.to = to
    }
  }
}

extension [Status.Log] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    let logs = Status.table(
      ["log", "kind", "entries", "first", "last", "bytes", "refused"],
      map { log in
        [
          log.name, log.kind.rawValue, "\(log.entries)", "\(log.first)", "\(log.last)", Status.size(log.bytes),
          log.refused == 0 ? "0" : paint.red("\(log.refused)"),
        ]
      }, paint)
    return logs + groupsText(colour: colour)
  }

  package func groupsText(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    let groups = Status.table(
      ["group of", "group", "lag", "position", "in flight", "dead", "oldest"],
      flatMap { log in
        log.groups.map { group in
          [
            log.name, group.name + (group.paused ? " \(paint.yellow("paused"))" : ""), "\(group.lag)",
            "\(group.position)", "\(group.inFlight)", group.dead == 0 ? "0" : paint.red("\(group.dead)"),
            group.oldest.map { Status.length($0) } ?? "",
          ]
        }
      }, paint)
    let sorted = flatMap { log in
      log.groups.compactMap { group in
        group.order.map { order in
          [
            log.name, group.name, "\(order.keeping)", order.gaps == 0 ? "0" : paint.yellow("\(order.gaps)"),
            "\(order.copies)", order.skipped == 0 ? "0" : paint.red("\(order.skipped)"),
            order.late == 0 ? "0" : paint.red("\(order.late)"),
          ]
        }
      }
    }
    if sorted.isEmpty { return groups }
    return groups
      + Status.table(["sorted of", "group", "kept", "keys with a gap", "left out", "skipped", "late"], sorted, paint)
  }
}

extension [Status.LogEvent] {
  package func text(colour: Bool) -> String {
    Status.table(
      ["position", "version", "at", "type", "key", "id", "body"],
      map { event in
        let body =
          event.body.map { $0.count > 80 ? "\($0.prefix(79))…" : $0 } ?? event.base64.map { _ in "(bytes)" } ?? ""
        return [
          "\(event.position)", event.version.map { "\($0)" } ?? "", event.at, event.type ?? "", event.key ?? "",
          event.id, String(body.map { $0.isNewline ? " " : $0 }),
        ]
      }, Paint(colour: colour))
  }
}
