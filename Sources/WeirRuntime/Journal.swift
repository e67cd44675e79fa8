// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import WeirBase
import WeirFlows
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// What the plane says: lines for people on its output, the access log as JSON.
///
/// Guarded by a lock, for the end of the process may speak while a tick writes.
final class Journal: Sendable {
  private struct State {
    var file: LogFile?
    /// A write failed, and was told: the next success is told as well.
    var isFailing = false
  }

  private let settings: RunSettings
  private let log: AccessLog
  private let state: Mutex<State>
  private let paint: Paint

  init(settings: RunSettings, names: Names) {
    self.settings = settings
    log = AccessLog(names: names)
    paint = Paint(colour: settings.colour)
    state = Mutex(
      State(file: settings.accessLog == .file ? LogFile(path: settings.state + "/logs/access.log") : nil))
  }

  /// A line for people.
  func say(_ text: String) {
    if settings.live { return }
    FileHandle.standardOutput.write(Data("\(paint.dim("weir |")) \(text)\n".utf8))
  }

  /// A line about something that is wrong; shown over a live view as well.
  func trouble(_ text: String) {
    if settings.live { return }
    FileHandle.standardError.write(Data("\(paint.yellow("weir |")) \(text)\n".utf8))
  }

  func event(_ event: Event, text: String, at: WallTime) {
    say(text)
    write(log.line(event, at: at))
  }

  /// The requests that a loop has finished since the last time.
  func access(_ report: ProxyServer.LoopReport, now: Instant, wall: WallTime) {
    guard settings.accessLog != .off else { return }
    // Both lists are in the order in which requests ended; entries whose record was lost are passed over.
    var next = report.access.startIndex
    var lines: [UInt8] = []
    for record in report.records {
      while next < report.access.endIndex, report.access[next].tag < record.tag { next += 1 }
      guard next < report.access.endIndex, report.access[next].tag == record.tag else { continue }
      let entry = report.access[next]
      let at = WallTime(milliseconds: wall.milliseconds - now.since(record.startedAt) / 1_000_000)
      lines += log.line(
        record,
        AccessFacts(
          method: entry.method, path: entry.path, host: entry.host, client: entry.client,
          traceId: Journal.hex(entry.traceHigh) + Journal.hex(entry.traceLow), bytesIn: Int(entry.bytesIn),
          bytesOut: Int(entry.bytesOut)), at: at)
      if lines.count > 65_536 {
        write(lines)
        lines.removeAll(keepingCapacity: true)
      }
    }
    if !lines.isEmpty { write(lines) }
  }

  private func write(_ lines: [UInt8]) {
    switch settings.accessLog {
    case .off: return
    case .output: FileHandle.standardOutput.write(Data(lines))
    case .file:
      let told = state.withLock { (state: inout State) -> String? in
        do throws(SystemError) {
          try state.file?.append(Array(lines.dropLast()))
          defer { state.isFailing = false }
          return state.isFailing ? "the access log is written again" : nil
        } catch {
          defer { state.isFailing = true }
          return state.isFailing ? nil : "the access log cannot be written: \(error.reason); requests go on"
        }
      }
      if let told { trouble(told) }
    }
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
