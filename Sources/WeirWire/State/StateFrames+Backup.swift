// SPDX-License-Identifier: Apache-2.0

/// Frames about copies of the state.
extension StateWriter {
  /// False: it is of another topic.
  mutating func backup(_ request: StateRequest, _ id: UInt64) -> Bool {
    switch request {
    case .planBackup(let backup):
      begin(22, id)
      flag(backup != nil)
      if let backup {
        text(backup.system)
        text(backup.every)
        i64(backup.keep)
        text(backup.folder)
        flag(backup.makesFolder)
      }
    case .lookBackup: begin(23, id)
    default: return false
    }
    return true
  }

  mutating func backup(_ reply: StateReply, _ id: UInt64) -> Bool {
    guard case .backup(let counts) = reply else { return false }
    begin(158, id)
    optional(counts.lastAt)
    i64(counts.bytes)
    i64(counts.copies)
    i64(counts.made)
    i64(counts.failures)
    flag(counts.isCopying)
    text(counts.trouble)
    return true
  }
}

extension StateReader {
  mutating func backupRequest(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest? {
    switch kind {
    case 22:
      if try !flag(bytes) { return .planBackup(nil) }
      return .planBackup(
        BackupDeclaration(
          system: try name(bytes), every: try text(bytes, atMost: BackupLimits.everyBytesMax), keep: try length(bytes),
          folder: try text(bytes, atMost: BackupLimits.folderBytesMax), makesFolder: try flag(bytes)))
    case 23: return .lookBackup
    default: return nil
    }
  }

  mutating func backupReply(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateReply? {
    guard kind == 158 else { return nil }
    var counts = BackupCounts()
    counts.lastAt = try optional(bytes)
    counts.bytes = try length(bytes)
    counts.copies = try length(bytes)
    counts.made = try length(bytes)
    counts.failures = try length(bytes)
    counts.isCopying = try flag(bytes)
    counts.trouble = try text(bytes, atMost: BackupLimits.troubleBytesMax)
    return .backup(counts)
  }
}
