// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// A table in which programs leave messages, and what Weir has sent from it.
  package struct Outbox: Sendable, Codable, Equatable {
    /// The store's name.
    package var store: String
    package var table: String
    /// Rows that are not sent yet; 100 001 for more than 100 000.
    package var waiting: Int
    /// How old the oldest is, in seconds; nil when there is none.
    package var oldest: Double?
    /// Rows since this plane has begun.
    package var sent: UInt64
    /// Sends since then that were refused, or that nobody answered.
    package var failed: UInt64
    /// Rows that are left out, because nobody could ever take them.
    package var aside: Int
    /// Why nothing is sent, or not all.
    package var problem: String?

    package init(
      store: String, table: String, waiting: Int, oldest: Double?, sent: UInt64, failed: UInt64, aside: Int,
      problem: String?
    ) {
      self.store = store
      self.table = table
      self.waiting = waiting
      self.oldest = oldest
      self.sent = sent
      self.failed = failed
      self.aside = aside
      self.problem = problem
    }
  }
}

extension [Status.Outbox] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    return Status.table(
      ["outbox", "table", "waiting", "oldest", "sent", "failed", "left out", "problem"],
      map { outbox in
        [
          outbox.store, outbox.table, "\(outbox.waiting)", outbox.oldest.map { Status.length($0) } ?? "",
          "\(outbox.sent)", "\(outbox.failed)", outbox.aside == 0 ? "0" : paint.red("\(outbox.aside)"),
          outbox.problem.map { paint.yellow(String($0.prefix { $0 != "\n" })) } ?? "",
        ]
      }, paint)
  }
}
