// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import WeirBase
package import WeirPlatform

/// The plane's end of the control connection.
///
/// A thread of its own reads and calls back; sending is allowed from any thread. When the keeper is gone the client ends
/// all programs by itself, for nobody else can, and then says so.
package final class KeeperClient: Sendable {
  /// Between TERM and KILL when the keeper has died: short, for the system is supposed to be gone within seconds.
  package static let orphanGrace = Duration.milliseconds(1500)

  package enum Event: Sendable {
    /// Sockets that the keeper has opened, this plane's copies. Sockets of the start come before `adopted`.
    case opened(SocketReport, [Descriptor])
    case message(KeeperMessage)
    /// The keeper is gone: accept nothing any more. The programs are being ended.
    case keeperLost
    /// No program is left. The plane should now end, too. Nothing comes after this.
    case programsEnded
  }

  private struct Known {
    var folder: String
    /// It does not look after the programs, or does so no more: another plane does.
    var isAside = false
    var programs: [RunRecord.Process] = []
    var isLost = false
  }

  private let control: Descriptor
  private let known: Mutex<Known>
  private let sending = Mutex(())

  /// Takes over the connection that the keeper gave this process; nil when it was not started by a keeper.
  package convenience init?() {
    guard let text = OwnEnvironment.value(Keeper.controlVariable), let number = Int32(text) else { return nil }
    self.init(control: Descriptor(owning: number), stateFolder: OwnEnvironment.value(StateFolder.runVariable) ?? "")
    if isStandby { known.withLock { $0.isAside = true } }
  }

  /// This process is to take over from a plane that serves.
  package var isStandby: Bool { OwnEnvironment.value(Keeper.standbyVariable) != nil }

  /// The version that the keeper speaks, if it is not ours.
  package static var foreignProtocol: String? {
    guard let text = OwnEnvironment.value(Keeper.protocolVariable) else { return "1" }
    return text == "\(keeperProtocolVersion)" ? nil : text
  }

  package init(control: Descriptor, stateFolder: String) {
    self.control = control
    known = Mutex(Known(folder: stateFolder))
    // Inherited without it: programs are started by the keeper, but whatever else this process starts must not have it.
    // If that fails the keeper merely learns later of our end.
    try? control.setCloseOnExec()
  }

  /// Begins to read; `onEvent` is called on the reading thread, one event after the other.
  package func run(_ onEvent: @escaping @Sendable (Event) -> Void) throws(SystemError) {
    try SystemThread.start { [self] in
      read(onEvent)
      onEvent(.keeperLost)
      endPrograms()
      onEvent(.programsEnded)
    }
  }

  /// Tells the keeper; false when it is gone, which ``Event/keeperLost`` tells as well.
  @discardableResult
  package func send(_ message: PlaneMessage) -> Bool {
    // Too long for a frame: a program whose environment is over a mebibyte, which the system would refuse as well.
    guard let frame = try? FrameReader.frame(message) else { return false }
    return sending.withLock { _ in
      var rest = frame[...]
      while !rest.isEmpty {
        // A broken connection is told by the reading thread.
        guard let count = try? control.send(Array(rest), passing: []) else { return false }
        rest = rest.dropFirst(count)
      }
      return true
    }
  }

  /// Announces an orderly end of the whole run with this exit code; the process must end afterwards.
  package func finish(code: Int32) { send(.finished(code: code)) }

  private func read(_ onEvent: (Event) -> Void) {
    var reader = FrameReader()
    var descriptors: [Descriptor] = []
    while true {
      // An error is as good as the end: without the keeper there is nothing to be done here.
      guard let (bytes, came) = try? control.receive(upTo: 65536), !bytes.isEmpty else { return }
      descriptors += came
      reader.feed(bytes)
      do {
        while let message = try reader.nextMessage(KeeperMessage.self) {
          remember(message)
          if case .opened(let socket) = message {
            let count = min(socket.count, descriptors.count)
            onEvent(.opened(socket, Array(descriptors.prefix(count))))
            descriptors.removeFirst(count)
          } else {
            onEvent(.message(message))
          }
        }
      } catch {
        // Keeper and plane are one binary: what it sends and we cannot read is a bug, and the keeper is as good as gone.
        return
      }
    }
  }

  private func remember(_ message: KeeperMessage) {
    func process(_ id: String, _ pid: Int32) -> RunRecord.Process? {
      ProcessTable.entry(of: pid).map { RunRecord.Process(id: id, pid: pid, startTicks: $0.startTicks) }
    }
    known.withLock { known in
      switch message {
      case .adopted(let programs, _, let folder):
        known.folder = folder
        known.isAside = false
        known.programs = programs.compactMap { report in report.pid.flatMap { process(report.spec.id, $0) } }
      case .started(let id, let pid, _):
        known.programs.removeAll { $0.id == id }
        if let process = process(id, pid) { known.programs.append(process) }
      case .exited(let id, _, _): known.programs.removeAll { $0.id == id }
      default: break
      }
    }
  }

  /// Ends every program this plane knows of, and all that carries the run's mark.
  package func endPrograms() {
    let (folder, programs, isAside) = known.withLock { ($0.folder, $0.programs, $0.isAside) }
    if isAside { return }
    Leftovers.end(run: folder, known: programs, grace: KeeperClient.orphanGrace)
  }
}
