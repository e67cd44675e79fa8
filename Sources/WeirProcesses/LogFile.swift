// SPDX-License-Identifier: Apache-2.0

package import WeirBase
package import WeirPlatform

/// A service's log: appended to, and rotated by size.
///
/// `api.log` is the newest; at ``bytesMax`` it becomes `api.log.1`, that `api.log.2`, and the oldest is removed. Writes go
/// straight to the system, so a killed keeper loses no line it has taken. Confined to the keeper's thread.
package final class LogFile {
  /// 10 MiB a file, three files: a service holds at most 30 MiB of disk.
  package static let bytesMax = 10 << 20
  package static let filesMax = 3

  let path: String
  let bytesMax: Int
  var file: Descriptor?
  var size = 0
  /// A write was cut short: the next one must begin on a fresh line.
  var torn = false

  package init(path: String, bytesMax: Int = LogFile.bytesMax) {
    self.path = path
    self.bytesMax = bytesMax
  }

  /// Writes one line; `bytes` has no newline.
  package func append(_ bytes: [UInt8]) throws(SystemError) {
    if size + bytes.count + 1 > bytesMax, size > 0 { try rotate() }
    if file == nil {
      let opened = try Descriptor.open(path, .append)
      size = try opened.size()
      file = opened
    }
    guard let file else { return }
    let line = (torn ? [10] : []) + bytes + [10]
    let written: Int
    do { written = try file.write(line) } catch {
      // The file may have been removed, or its disk may come back as another one: opened anew at the next try.
      self.file = nil
      throw error
    }
    size += written
    torn = written < line.count && written > 0
    // A regular file takes less than all only when there is no more room.
    if written < line.count { throw SystemError.diskFull("write \(path)") }
  }

  func rotate() throws(SystemError) {
    file = nil
    size = 0
    for index in stride(from: LogFile.filesMax - 1, to: 0, by: -1) {
      let older = index == 1 ? path : "\(path).\(index - 1)"
      if Files.exists(older) { try Files.rename(older, to: "\(path).\(index)") }
    }
  }
}

/// All logs of a system, and what to do when they cannot be written.
///
/// A full disk is told once, keeps nobody waiting, and is tried again every ``retry``; lines meanwhile are counted.
package final class LogStore {
  /// Often enough that the log is back soon after room was made; rare enough to cost nothing.
  package static let retry = Duration.seconds(2)

  let folder: StateFolder
  let bytesMax: Int
  var files: [(service: String, file: LogFile)] = []
  /// Since when writing fails, and what was lost since then.
  var trouble: (nextTry: Instant, lost: Int)?

  package init(folder: StateFolder, bytesMax: Int = LogFile.bytesMax) {
    self.folder = folder
    self.bytesMax = bytesMax
  }

  /// What the user must be told about, once.
  package enum Notice: Equatable { case none, failing(SystemError), mended(lost: Int) }

  package func append(service: String, id: String, line: [UInt8], wall: WallTime, now: Instant) -> Notice {
    if let trouble, now < trouble.nextTry {
      self.trouble?.lost += 1
      return .none
    }
    do {
      try file(service).append(Array("\(wall.rfc3339) \(id) | ".utf8) + line)
      guard let trouble else { return .none }
      self.trouble = nil
      return .mended(lost: trouble.lost)
    } catch {
      let first = trouble == nil
      trouble = (now + LogStore.retry, (trouble?.lost ?? 0) + 1)
      return first ? .failing(error) : .none
    }
  }

  private func file(_ service: String) -> LogFile {
    if let known = files.first(where: { $0.service == service }) { return known.file }
    let fresh = LogFile(path: folder.logPath(service: service), bytesMax: bytesMax)
    files.append((service, fresh))
    return fresh
  }
}
