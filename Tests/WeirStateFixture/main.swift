// SPDX-License-Identifier: Apache-2.0

import WeirBase
import WeirPatterns
import WeirPlatform
import WeirStorage
import WeirWire

// The state process as `weir state` runs it, but for a store that kills the process (SIGKILL) at its n-th change:
//
//   weir-state-fixture FOLDER NUMBER inside|after
//
// inside: all is written to the transaction, which is not committed; after: it is on the disk, and nobody was told.

let words = CommandLine.arguments
guard words.count == 4, let number = Int(words[2]) else {
  print("usage: weir-state-fixture FOLDER NUMBER inside|after")
  leave(2)
}
let folder = words[1]
Signal.brokenPipe.ignore()
do {
  let signals = try SignalPipe([.terminate])
  let store = CrashingStore(try SQLiteStore(path: StateProcess.databasePath(folder)), at: number, words[3])
  let server = try StateServer(listener: try Listening.unix(path: StateProcess.socketPath(folder)), store: store) {
    print($0)
  }
  try server.serve(until: signals.descriptor)
} catch {
  print("\(error)")
  leave(1)
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
