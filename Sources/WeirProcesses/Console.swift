// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
package import WeirPlatform

/// Writes lines to a terminal, pipe or file without ever waiting for its reader.
///
/// The mode "non-blocking" belongs to the open file that we share with the shell and others, so it is not ours to set.
/// A terminal or pipe is opened a second time instead, which gives an open file of our own; a socket has a flag for each
/// send; a regular file does not block. Lines that find ``bytesMax`` already waiting are dropped and counted, and the
/// count is told when there is room again. The log files have them all. Confined to one thread, or guarded by its owner.
package final class Console {
  /// 256 KiB: a few screens of backlog, after that old lines are of less use than the program's progress.
  static let bytesMax = 256 << 10

  private let descriptor: Descriptor
  private let isSocket: Bool
  /// A write may block, so poll is asked first.
  private let isGuarded: Bool
  private var waiting: [UInt8] = []
  private var dropped = 0
  /// The reader is gone for good (a closed terminal, a pipe without reader).
  private(set) var isClosed = false
  let colour: Bool

  /// Writes to what this process's descriptor `number` (1 or 2) is.
  package init(_ number: Int32) throws(SystemError) {
    let shared = Descriptor(owning: try Descriptor(borrowing: number).duplicate())
    colour = Terminal.mayColour(number)
    let kind = shared.kind
    isSocket = kind == .socket
    var own: Descriptor?
    if kind == .pipe || kind == .character {
      // Not ours to open again (a terminal of another user): then we write to the shared one, only when poll says so.
      own = try? Descriptor.open("/proc/self/fd/\(number)", .write, nonblocking: true)
    }
    descriptor = own ?? shared
    isGuarded = own == nil && !isSocket && kind != .file
  }

  /// What to poll for writing, or nil when nothing waits.
  var wantsWrite: Int32? { waiting.isEmpty || isClosed ? nil : descriptor.number }

  package func line(_ text: [UInt8]) {
    if isClosed { return }
    if waiting.count + text.count > Console.bytesMax {
      dropped += 1
      return
    }
    waiting += text
    waiting.append(10)
    flush()
  }

  /// Writes what the reader takes.
  package func flush() {
    while !waiting.isEmpty, !isClosed {
      do {
        // 4 KiB at a time (PIPE_BUF): where only poll guards us, that much is taken without blocking.
        let part = Array(waiting.prefix(4096))
        if isGuarded, !descriptor.isWritableNow { return }
        let count = isSocket ? try descriptor.send(part, passing: []) : try descriptor.write(part)
        waiting.removeFirst(count)
      } catch {
        if error.wouldBlock { return }
        isClosed = true
        waiting = []
      }
      if waiting.isEmpty, dropped > 0 {
        let note = "weir | \(dropped) lines not shown: the reader of this output was too slow; the logs have them\n"
        dropped = 0
        waiting += note.utf8
      }
    }
  }

  /// Before the end: gives the reader a last chance, for at most `nanoseconds`.
  func drain(nanoseconds: Int64) {
    let end = SystemClock.now().advanced(by: nanoseconds)
    while let number = wantsWrite {
      let left = end.since(SystemClock.now())
      if left <= 0 { return }
      var interests = [Poll.Interest(number, read: false, write: true)]
      // A failing poll leaves nothing to wait for.
      guard (try? Poll.wait(&interests, nanoseconds: left)) != nil else { return }
      flush()
    }
  }
}
