// SPDX-License-Identifier: Apache-2.0

/// What the file says of copies of the state; times are in milliseconds.
public struct BackupDeclaration: Sendable, Equatable {
  /// Copies are named for the system: several may share a folder.
  public var system: String
  /// As a job's: `1h`, `@daily`, five fields of cron.
  public var every: String
  /// Older copies go, all but the newest.
  public var keep: Int64
  /// Absolute.
  public var folder: String
  /// The folder is made where it is missing: one that was named may lie on a disk that is not mounted.
  public var makesFolder: Bool

  public init(system: String, every: String, keep: Int64, folder: String, makesFolder: Bool) {
    self.system = system
    self.every = every
    self.keep = keep
    self.folder = folder
    self.makesFolder = makesFolder
  }
}

/// How it stands with copies of the state.
public struct BackupCounts: Sendable, Equatable {
  /// When the newest copy was begun, in milliseconds since 1970; nil: there is none.
  public var lastAt: Int64?
  /// Bytes of the newest copy.
  public var bytes: Int64 = 0
  /// Copies in the folder.
  public var copies: Int64 = 0
  /// Since the state process has started.
  public var made: Int64 = 0
  public var failures: Int64 = 0
  public var isCopying = false
  /// Why the last one could not be made; empty: it could.
  public var trouble = ""

  public init() {}
}

public enum BackupLimits {
  public static let everyBytesMax = 256
  public static let folderBytesMax = 4096
  public static let troubleBytesMax = 1024
}
