// SPDX-License-Identifier: Apache-2.0

package import WeirPlatform

/// `.weir/<system>/`: what a run leaves on disk.
///
///     version      the layout's version, a number
///     lock         held by the keeper as long as it lives
///     pids.json    what runs, so that the next run can end what a killed keeper left
///     admin.sock   the plane's admin socket (0600)
///     logs/        <service>.log, rotated
///
/// The folder is 0700: logs and the admin socket are nobody else's.
package struct StateFolder: Sendable, Hashable {
  /// Absolute, without links: it also marks every process of the run (``runVariable``).
  package let path: String

  package static let version = 1
  /// The variable every process of a run carries, with the folder's path as value.
  package static let runVariable = "WEIR_RUN"

  package var lockPath: String { path + "/lock" }
  package var versionPath: String { path + "/version" }
  package var pidsPath: String { path + "/pids.json" }
  package var adminSocketPath: String { path + "/admin.sock" }
  package var logsPath: String { path + "/logs" }
  package func logPath(service: String) -> String { logsPath + "/" + service + ".log" }

  /// Where a system's state lies unless the user says otherwise: beside its file.
  package static func defaultPath(system: String, fileFolder: String) -> String {
    Files.resolve(".weir/" + system, in: fileFolder)
  }

  /// The folder as it is, without making or locking anything; nil when there is none.
  ///
  /// For `weir status`.
  package static func existing(_ path: String) -> StateFolder? {
    guard Files.isFolder(path), let canonical = try? Files.canonical(path) else { return nil }  // Missing: nil.
    return StateFolder(path: canonical)
  }

  private init(path: String) { self.path = path }

  /// Makes the folder where it is missing and checks that this version can use it.
  package init(creating path: String) throws(StateFolderError) {
    do {
      try Files.makeFolder(path)
    } catch {
      throw .cannotMake(path, error)
    }
    do { self.path = try Files.canonical(path) } catch { throw .cannotMake(path, error) }
    guard Files.isWritable(self.path) else { throw .notWritable(self.path) }
    do { try Files.makeFolder(logsPath) } catch { throw .cannotMake(logsPath, error) }
    try checkVersion()
  }

  private func checkVersion() throws(StateFolderError) {
    guard Files.exists(versionPath) else {
      do {
        try Files.replace(versionPath, with: Array("\(StateFolder.version)\n".utf8))
      } catch {
        throw .cannotMake(versionPath, error)
      }
      return
    }
    let text: String
    do { text = try Files.text(versionPath) } catch { throw .cannotRead(versionPath, error) }
    guard let found = Int(text.filter { !$0.isWhitespace }), found >= 1 else { throw .damaged(versionPath) }
    if found > StateFolder.version { throw .newer(path, found: found) }
  }

  /// Takes the folder for this process until it ends.
  package func lock() throws(StateFolderError) -> FolderLock {
    do { return try FolderLock(path: lockPath) } catch {
      switch error {
      case .held(_, let pid): throw .inUse(path, by: pid)
      case .system(let error): throw .cannotMake(lockPath, error)
      }
    }
  }
}

/// Why a state folder cannot be used.
package enum StateFolderError: Error, Sendable, Equatable, CustomStringConvertible {
  case cannotMake(String, SystemError)
  case cannotRead(String, SystemError)
  case notWritable(String)
  case damaged(String)
  case newer(String, found: Int)
  case inUse(String, by: Int32?)

  package var description: String {
    switch self {
    case .cannotMake(let path, let error) where error.isDiskFull:
      "cannot write \(path): the disk is full; free some space, or put the state elsewhere with --state"
    case .cannotMake(let path, let error): "cannot make \(path): \(error.reason); --state puts the state elsewhere"
    case .cannotRead(let path, let error): "cannot read \(path): \(error.reason)"
    case .notWritable(let path): "the state folder \(path) is not writable by this user; --state puts it elsewhere"
    case .damaged(let path): "\(path) does not hold a version number; if nothing in its folder is needed, remove it"
    case .newer(let path, let found):
      "the state folder \(path) was written by a newer weir (layout \(found), this one knows \(StateFolder.version))"
    case .inUse(let path, let pid):
      "another weir run uses the state folder \(path)"
        + (pid.map { " (process \($0)): stop it first, or give this one its own with --state" } ?? "")
    }
  }
}
