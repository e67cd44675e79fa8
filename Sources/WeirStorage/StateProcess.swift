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
      let backups = StateBackups(of: databasePath(folder)) { say($0) }
      let server = try StateServer(
        listener: try Listening.unix(path: socketPath(folder)), store: store, backups: backups
      ) { say($0) }
      try server.serve(until: signals.descriptor)
      // A copy that is half made is nothing: it is begun anew.
      backups.end()
      try store.close()
      return 0
    } catch {
      say("\(error)")
      return 1
    }
  }

  /// Copies the state of a folder, whether it is served or not, to a file, or into a folder under its system's name; where it
  /// lies, and its bytes.
  package static func copy(_ folder: String, system: String, to target: String) throws -> (path: String, bytes: Int64) {
    let name = StateBackups.name(system, SystemClock.wall())
    let path = Files.isFolder(target) ? Files.resolve(name, in: target) : target
    return (path, try SQLiteStore.copy(databasePath(folder), to: path))
  }

  /// Puts a copy in the place of a folder's state, which nobody may serve; where what was there before is now.
  package static func restore(_ folder: String, from copy: String) throws -> String? {
    let lock: FolderLock
    do {
      try Files.makeFolder(folder)
      // Whoever runs the system has it, and starts the state process again and again.
      lock = try FolderLock(path: folder + "/lock")
    } catch let error as FolderLock.Failure {
      if case .held(_, let pid) = error { throw StateStoreError.served(folder, by: pid) }
      throw StateStoreError.cannotOpen(folder, "\(error)")
    } catch let error as SystemError {
      throw StateStoreError.cannotOpen(folder, error.reason)
    }
    defer { withExtendedLifetime(lock) {} }
    // One that is left of a run that was killed.
    if (try? Connecting.unix(path: socketPath(folder))) != nil { throw StateStoreError.served(folder, by: nil) }
    return try SQLiteStore.restore(databasePath(folder), from: copy)
  }

  @Sendable private static func say(_ text: String) {
    // Nowhere to complain to when standard error cannot be written.
    _ = try? Descriptor(borrowing: 2).write(Array("\(text)\n".utf8))
  }
}
