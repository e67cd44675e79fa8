// SPDX-License-Identifier: Apache-2.0

import WeirBase
import WeirPatterns
import WeirPlatform
import WeirStorage
import WeirWire

// The state process as `weir state` runs it, but for a store that kills the process (SIGKILL) at its n-th change:
//
//   weir-state-fixture FOLDER NUMBER inside|after|drill|single
//   weir-state-fixture drill FOLDER [--kills N] [--cuts N --shim FILE] [--producers N] [--seed N]
//   weir-state-fixture logs FOLDER [--kills N | --seconds N] [--every N] [--cuts N --shim FILE] [--producers N] [--seed N]
//   weir-state-fixture bench FOLDER [--producers N] [--seconds N] [--peers redis=PORT,nats=PORT]
//   weir-state-fixture open FOLDER [--messages N]
//
// inside: all is written to the transaction, which is not committed; after: it is on the disk, and nobody was told.
// drill: what is done is forgotten soon; single: one request a transaction. `drill`, `logs`, `open` and `bench` start it themselves.

let words = CommandLine.arguments
Signal.brokenPipe.ignore()
do {
  switch words.count > 2 ? words[1] : "" {
  case "drill":
    var options = Drill.Options()
    options.kills = option("--kills") ?? options.kills
    options.cuts = option("--cuts") ?? 0
    options.producers = option("--producers") ?? options.producers
    options.seed = option("--seed").map { UInt64($0) } ?? 1
    options.shim = text("--shim")
    if options.cuts > 0 && options.shim == nil { usage() }
    leave(try Drill(words[2], options).run() ? 0 : 1)
  case "logs":
    var options = LogDrill.Options()
    options.kills = option("--kills") ?? options.kills
    options.seconds = option("--seconds") ?? 0
    options.every = option("--every") ?? options.every
    options.cuts = option("--cuts") ?? 0
    options.writers = option("--producers") ?? options.writers
    options.seed = option("--seed").map { UInt64($0) } ?? 1
    options.shim = text("--shim")
    if options.cuts > 0 && (options.shim == nil || options.seconds > 0) { usage() }
    leave(try LogDrill(words[2], options).run() ? 0 : 1)
  case "open": try Opening.run(words[2], messages: option("--messages") ?? 1_000_000)
  case "bench":
    var bench = Bench(words[2], producers: option("--producers") ?? 64, seconds: option("--seconds") ?? 10)
    for words in text("--peers")?.split(separator: ",") ?? [] {
      guard let peer = PeerBench(String(words)) else { usage() }
      bench.peers.append(peer)
    }
    try bench.run()
  default:
    guard words.count == 4, let number = Int(words[2]) else { usage() }
    try serve(words[1], dyingAt: number, words[3])
  }
} catch {
  say("\(error)")
  leave(1)
}

func usage() -> Never {
  say("usage: weir-state-fixture FOLDER NUMBER inside|after|drill|single, or drill|logs|open|bench FOLDER …")
  leave(2)
}

/// At once: what stands in a buffer when the process ends is gone.
func say(_ text: String) {
  // Nowhere to complain to when it cannot be written.
  _ = try? Descriptor(borrowing: 1).writeAll(Array("\(text)\n".utf8))
}

func text(_ name: String) -> String? {
  guard let at = words.firstIndex(of: name), at + 1 < words.count else { return nil }
  return words[at + 1]
}

func option(_ name: String) -> Int? {
  guard let text = text(name) else { return nil }
  guard let number = Int(text), number >= 0 else { usage() }
  return number
}

func serve(_ folder: String, dyingAt number: Int, _ point: String) throws {
  let signals = try SignalPipe([.terminate])
  let store = CrashingStore(try SQLiteStore(path: StateProcess.databasePath(folder)), at: number, point)
  var settings = StateServer.Settings()
  if point == "drill" {
    settings.queues.statusKeep = 2000
    settings.forgetMax = 5000
  }
  if point == "single" { settings.batchMax = 1 }
  let listener = try Listening.unix(path: StateProcess.socketPath(folder))
  let server = try StateServer(listener: listener, store: store, settings) { say($0) }
  try server.serve(until: signals.descriptor)
}

final class CrashingStore: StateStore {
  private let inner: SQLiteStore
  private let number: Int
  private let point: String
  private var changes = 0

  init(_ inner: SQLiteStore, at number: Int, _ point: String) {
    self.inner = inner
    self.number = number
    self.point = point
  }

  var isLowOnSpace: Bool { inner.isLowOnSpace }
  func compact() throws { try inner.compact() }

  func transact<Result>(_ body: (any StateTransaction) throws -> Result) throws -> Result {
    var changed = false
    let result = try inner.transact { transaction in
      let before = transaction.changes
      let result = try body(transaction)
      changed = transaction.changes > before
      if changed { changes += 1 }
      if changed && changes == number && point == "inside" { die() }
      return result
    }
    if changed && changes == number && point == "after" { die() }
    return result
  }

  private func die() -> Never {
    Children.send(.kill, to: Children.ownPid)
    while true { SystemThread.pause(nanoseconds: 1_000_000_000) }
  }
}
