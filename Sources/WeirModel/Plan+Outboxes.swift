// SPDX-License-Identifier: Apache-2.0

extension Plan {
  /// A table in which programs leave messages for Weir to send.
  package struct Outbox: Sendable, Equatable {
    package enum Database: Sendable, Equatable {
      /// Relative to the Weir file.
      case sqlite(path: String)
      /// A connection string of libpq, which may refer to secrets.
      case postgres(Text)
    }

    /// The store's name.
    package var name: String
    package var database: Database
    package var table: String
    /// Where it stands in the file: `shop.yaml:41:5`.
    package var place: String
  }

  /// The outboxes of the stores, in the order of the file.
  package var outboxes: [Outbox] {
    design.stores.compactMap { store in
      guard let table = store.outbox, !table.value.isEmpty else { return nil }
      let database: Outbox.Database
      switch store.engine.value {
      case .sqlite:
        guard let path = store.path?.value else { return nil }
        database = .sqlite(path: path)
      case .postgres:
        guard let connection = store.connection?.value ?? store.at.first.map({ Store.connection(to: $0.value) }) else {
          return nil
        }
        database = .postgres(connection)
      case .mysql, .other: return nil
      }
      let place = table.place.map { "\($0.file):\($0.line):\($0.column)" }
      return Outbox(name: store.name.text, database: database, table: table.value, place: place ?? store.name.path)
    }
  }
}

extension Store {
  /// A table, or a schema and a table, that needs no quotes.
  static func isTable(_ name: String, schema: Bool) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...(schema ? 2 : 1)).contains(parts.count) else { return false }
    return parts.allSatisfy { part in
      (1...63).contains(part.utf8.count) && !(part.utf8.first.map { $0 &- 0x30 < 10 } ?? true)
        && part.utf8.allSatisfy { $0 &- 0x30 < 10 || ($0 | 0x20) &- 0x61 < 26 || $0 == 0x5f }
    }
  }

  /// `host:port` as libpq takes it.
  static func connection(to address: Text) -> Text {
    Text(raw: "postgres://\(address.raw)", parts: [.literal("postgres://")] + address.parts)
  }
}
