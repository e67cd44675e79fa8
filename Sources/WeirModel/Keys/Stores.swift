// SPDX-License-Identifier: Apache-2.0

/// One entry of `stores:`.
enum StoreKeys {
  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "team-orders"), rule: "the system's owner", "Who answers for it.")
  static let engine = ScalarKey(
    "engine", ScalarType<Store.Engine>.word, required: true, "What it is.", alias: ["type", "kind"])
  static let path = ScalarKey(
    "path", .text("a path", example: "data/notes.db"), "The file of a sqlite store, relative to the Weir file.",
    alias: ["file"])
  static let at = Key(
    "at", Shape.list(.scalar(.endpoint), least: 1).or(.scalar(.endpoint)).orLater(map: true), "Where it runs.",
    alias: ["url", "host", "address"])
  static let maxConnections = ScalarKey(
    "max-connections", .count(1...1_000_000), "Connections that the server takes: what `connection-storm` counts with.",
    alias: ["connections"])
  static let pool = Key("pool", .section(PoolKeys.section), "A pooler between the programs and the server.")
  static let outbox = ScalarKey(
    "outbox", .text("a table", example: "weir_outbox"),
    "The table in which programs leave messages in the transaction of their data: Weir sends them, so that neither is without the other.",
    alias: ["outbox-table"])
  static let connection = ScalarKey(
    "connection",
    .reference("a connection string or URL of libpq", example: "$(secret:orders-db)"),
    "How Weir itself reaches a postgres store, for its outbox; without it the first address of `at`, and what libpq reads of the environment (PGUSER, PGPASSFILE and so on).",
    alias: ["dsn", "connection-string"])
  static let work = Key(
    "work", .section(WorkKeys.storeSection), "Its time for a request.", modelOnly: true)

  static let section = Section(
    name: "store", doc: "Something that keeps data.",
    keys: [
      owner.key, engine.key, path.key, at, connection.key, outbox.key, maxConnections.key, pool, work,
      .later("reads", "Where reads go, and how stale they may be."),
      .later("shards", "How data is spread over several servers."),
      .later("holds", "What data it keeps, and how consistent it must be."),
      .later("backup", "How often it is copied, and where to."),
    ])
}

/// `pool:` of a store.
enum PoolKeys {
  static let size = ScalarKey(
    "size", .count(1...100_000), required: true, "Connections that the pooler holds to the server.",
    refused: [(.run, "weir run does not pool connections yet")])

  static let section = Section(
    name: "pool", doc: "A pooler.",
    keys: [
      size.key, .later("mode", "When a connection is given back: `transaction`, `session`."),
      .later("wait", "How long one may wait for a connection."),
    ])
}
