// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
package import WeirPlatform

/// What the plane tells the keeper.
///
/// Each is one frame; the keeper answers with ``KeeperMessage``s as things happen.
package enum PlaneMessage: Sendable, Hashable, Codable {
  /// Start this instance. Answered by `started` or `failed`; refused with `failed` while an instance of the id runs.
  case start(program: ProgramSpec)
  /// Send a signal to the instance's whole process group.
  case signal(id: String, signal: Signal)
  /// TERM, after the grace KILL. Answered by `exited`.
  case stop(id: String, grace: Duration)
  /// The instance is no more part of the design: stop it if need be and drop what is known of it.
  case forget(id: String)
  /// In which order to end programs when all ends: stages of service names, the first stage first.
  case order(stages: [[String]])
  /// The plane serves. Before this, its end is a failed start and ends the keeper with its exit code.
  case ready
  /// Asks for the last lines an instance wrote. Answered by `lines`.
  case lastLines(id: String)
  /// Whether the keeper writes programs' lines to its standard output; off while the plane draws a live view there.
  case show(lines: Bool)
  /// Write a line of the plane's own, to the output and to `weir.log`; never waits for a reader, as a `print` would.
  case say(text: String)
  /// Open sockets. Answered by `opened`, with descriptors, or `listenFailed`.
  case listen(spec: ListenSpec)
  /// Close the keeper's copy of these sockets.
  case unlisten(name: String)
  /// The plane is about to end in good order, and this is what the whole run's exit code is to be.
  case finished(code: Int32)
  /// Start this binary as the next plane; `heritage` is what it is told of this one. Answered by `retire` or `refused`.
  case upgrade(binary: String, heritage: String)
  /// Of a plane on standby: all is made ready, and it can take over.
  case prepared(version: String)
  /// Of a plane on standby: it cannot take over, in words for the user; it ends.
  case cannot(reason: String)
}

/// What the keeper tells the plane.
package enum KeeperMessage: Sendable, Hashable, Codable {
  /// Sockets that are open; `socket.count` descriptors come with this frame.
  case opened(socket: SocketReport)
  case listenFailed(name: String, reason: String)
  /// The first word after the sockets: everything that already runs. `planeStarts` is 1 for the first plane.
  case adopted(programs: [ProgramReport], planeStarts: Int, stateFolder: String)
  case started(id: String, pid: Int32, startedAt: Int64)
  /// It could not be started, in words for the user.
  case failed(id: String, reason: String)
  case exited(id: String, record: ExitRecord, lastLines: [String])
  case lines(id: String, lines: [String])
  /// To a plane that may take over: make all ready, say `prepared`, and take nothing yet. Comes after the sockets.
  case standby(heritage: String)
  /// Another plane has taken over: finish what has begun, and end.
  case retire(successor: Int32, version: String)
  /// There was no upgrade, and why.
  case refused(reason: String)
  /// To a plane that takes over, before `adopted`: the planes that had retired and live, the one before it included.
  case elders(pids: [Int32])
  /// A plane that had retired has ended.
  case retired(pid: Int32)
}

/// The version of both enums and of ``Handover``; it differs only across an upgrade in place, which is refused then.
package let keeperProtocolVersion = 2

/// Frames: four bytes of length, the highest first, then that many bytes of JSON.
package struct FrameReader: Sendable {
  /// A frame holds at most one program with its environment, or twenty log lines of 4 KiB: a mebibyte is far above both,
  /// and low enough that a confused peer cannot make the other hold much.
  package static let bytesMax = 1 << 20

  var buffer: [UInt8] = []

  package init() {}

  package mutating func feed(_ bytes: [UInt8]) { buffer += bytes }

  /// The next whole frame's content, or nil.
  package mutating func next() throws(FrameError) -> [UInt8]? {
    guard buffer.count >= 4 else { return nil }
    let length = buffer[0..<4].reduce(0) { $0 << 8 | Int($1) }
    if length > FrameReader.bytesMax { throw .tooLong(length) }
    guard buffer.count >= 4 + length else { return nil }
    let content = Array(buffer[4..<(4 + length)])
    buffer.removeFirst(4 + length)
    return content
  }

  /// The next message, or nil when there is no whole frame.
  package mutating func nextMessage<M: Decodable>(_: M.Type) throws(FrameError) -> M? {
    guard let content = try next() else { return nil }
    do { return try JSONDecoder().decode(M.self, from: Data(content)) } catch { throw .notAMessage("\(error)") }
  }

  /// A message as a frame.
  package static func frame(_ message: some Encodable) throws(FrameError) -> [UInt8] {
    let content: Data
    do { content = try JSONEncoder().encode(message) } catch { throw .notAMessage("\(error)") }
    if content.count > bytesMax { throw .tooLong(content.count) }
    let length = UInt32(content.count)
    return [UInt8(length >> 24), UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255)] + content
  }
}

/// Why bytes of the other side make no sense; the connection cannot be used any more.
package enum FrameError: Error, Sendable, Equatable {
  case tooLong(Int)
  case notAMessage(String)
}
