// SPDX-License-Identifier: Apache-2.0

import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// A client that waits for each answer, and comes again when the process is gone.
final class Peer {
  struct Gone: Error {}

  private let folder: String
  private var socket: Descriptor?
  private var reader = StateFrameReader()
  private var number: UInt64 = 0
  /// Until when it tries; nil: as long as it takes.
  var limit: Instant?

  init(_ folder: String) { self.folder = folder }

  /// Whether the connection broke, so that nobody knows whether what was asked is done.
  private(set) var hasBroken = false

  /// Asks until there is an answer: everything may be said twice.
  func ask(_ request: StateRequest) throws -> StateReply {
    hasBroken = false
    while true {
      do {
        return try once(request)
      } catch {
        socket = nil
        reader = StateFrameReader()
        hasBroken = true
        if let limit, SystemClock.now() >= limit { throw Gone() }
        SystemThread.pause(nanoseconds: 1_000_000)
      }
    }
  }

  private func once(_ request: StateRequest) throws -> StateReply {
    if socket == nil {
      socket = try Connecting.unix(path: StateProcess.socketPath(folder))
      guard case .welcome = try exchange(.hello(version: StateFrames.version)) else { throw Gone() }
    }
    return try exchange(request)
  }

  private func exchange(_ request: StateRequest) throws -> StateReply {
    guard let socket else { throw Gone() }
    number += 1
    var bytes: [UInt8] = []
    StateFrames.append(request, id: number, to: &bytes)
    try socket.writeAll(bytes)
    while true {
      if let content = try reader.next() {
        let (id, reply) = try StateFrames.reply(content.span)
        if id == number { return reply }
        continue
      }
      let read = try socket.read(upTo: 65_536)
      if read.isEmpty { throw Gone() }
      reader.feed(read.span)
    }
  }
}

/// A state process that is started again, and killed.
final class Victim {
  let folder: String
  private let point: String
  private let shim: String?
  private(set) var pid: Int32 = -1

  var journal: String { folder + "/disk.journal" }

  init(_ folder: String, _ point: String, shim: String? = nil) {
    self.folder = folder
    self.point = point
    self.shim = shim
  }

  func start() throws {
    var environment = [(name: "PATH", value: "/usr/bin:/bin")]
    if let shim { environment += [(name: "LD_PRELOAD", value: shim), (name: "WEIR_DISK_JOURNAL", value: journal)] }
    var spawn = Spawn(
      path: Files.ownExecutable ?? "", arguments: ["weir-state-fixture", folder, "0", point], environment: environment)
    spawn.deathSignal = .kill
    pid = try spawn.start()
  }

  func kill() {
    Children.send(.kill, to: pid)
    _ = Children.reap(pid: pid, waiting: true)
  }
}
