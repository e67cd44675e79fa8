// SPDX-License-Identifier: Apache-2.0
internal import WeirPlatform

/// The life of `weir state`: opens the database of a state folder, serves its socket, ends when told to.
package enum StateProcess {
  package static func databasePath(_ folder: String) -> String { folder + "/state.sqlite" }
  package static func socketPath(_ folder: String) -> String { folder + "/state.sock" }

  /// Runs until SIGTERM; the exit code.
  package static func run(folder: String) -> Int32 {
    Signal.brokenPipe.ignore()
    // A database that has become too large for the file system is told as an error of the write.
    Signal.fileTooLarge.ignore()
    do {
      let signals = try SignalPipe([.terminate, .interrupt])
      let store = try SQLiteStore(path: databasePath(folder))
      let server = try StateServer(listener: try Listening.unix(path: socketPath(folder)), store: store) { say($0) }
      try server.serve(until: signals.descriptor)
      try store.close()
      return 0
    } catch {
      say("\(error)")
      return 1
    }
  }

  private static func say(_ text: String) {
    // Nowhere to complain to when standard error cannot be written.
    _ = try? Descriptor(borrowing: 2).write(Array("\(text)\n".utf8))
  }
}
