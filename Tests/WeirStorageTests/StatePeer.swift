// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestPrograms
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// A folder of its own for a test.
final class Scratch: Sendable {
  let path: String

  init() throws {
    path = try Files.canonical(NSTemporaryDirectory()) + "/weir-\(UUID().uuidString.prefix(8))"
    try Files.makeFolder(path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A client of the state process that waits for each answer.
final class StatePeer {
  private let socket: Descriptor
  private var reader = StateFrameReader()
  private var number: UInt64 = 0

  struct Ended: Error {}

  /// Connects, once somebody listens, and says hello.
  init(_ folder: String, greets: Bool = true) throws {
    let end = SystemClock.now() + .seconds(20)
    while true {
      if let made = try? Connecting.unix(path: StateProcess.socketPath(folder)) {
        socket = made
        break
      }
      if SystemClock.now() >= end { throw Ended() }
      SystemThread.pause(nanoseconds: 2_000_000)
    }
    if greets { #expect(try ask(.hello(version: StateFrames.version)) == .welcome(version: StateFrames.version)) }
  }

  @discardableResult
  func send(_ request: StateRequest) throws -> UInt64 {
    number += 1
    var bytes: [UInt8] = []
    StateFrames.append(request, id: number, to: &bytes)
    try socket.writeAll(bytes)
    return number
  }

  /// The next answer, whichever request's it is.
  func next() throws -> (id: UInt64, reply: StateReply) {
    while true {
      if let content = try reader.next() { return try StateFrames.reply(content.span) }
      let bytes = try socket.read(upTo: 65_536)
      if bytes.isEmpty { throw Ended() }
      reader.feed(bytes.span)
    }
  }

  func ask(_ request: StateRequest) throws -> StateReply {
    let id = try send(request)
    let (of, reply) = try next()
    #expect(of == id)
    return reply
  }
}

/// Refused for now, with a time to come back after.
func isBusy(_ reply: StateReply) -> Bool {
  if case .busy(let milliseconds) = reply { return milliseconds > 0 }
  return false
}

func digest(_ number: UInt64) -> StateDigest { StateDigest(number, 1, 2, 3) }
func owner(_ number: UInt64) -> StateRequest.Owner { .init(high: 9, low: number) }
func claim(
  _ key: UInt64, by number: UInt64, print: UInt64 = 7, lease: Int64 = 60_000, keep: Int64 = 600_000, wait: Int64 = 0
) -> StateRequest {
  .claim(
    .init(
      key: digest(key), fingerprint: digest(print), owner: owner(number), lease: lease, keep: keep, wait: wait))
}
func answer(_ text: String) -> StateRequest.Answer {
  .init(status: 201, fields: Array("Content-Type: text/plain\r\n".utf8), body: Array(text.utf8))
}

/// A state process within this one: the same loop on a thread.
final class RunningState: Sendable {
  private let stop: Descriptor
  private let ended = Mutex(false)

  init(
    _ store: @escaping @Sendable () throws -> any StateStore, _ folder: String,
    _ settings: StateServer.Settings = StateServer.Settings(), backups: StateBackups? = nil
  ) throws {
    // As the process does: a peer that is gone is an error of the write.
    Signal.brokenPipe.ignore()
    let (read, write) = try Descriptor.pipe()
    stop = write
    Listeners.waitUntilNone(at: StateProcess.socketPath(folder))
    let listener = try Listening.unix(path: StateProcess.socketPath(folder))
    try SystemThread.start { [self] in
      do {
        let server = try StateServer(listener: listener, store: try store(), settings, backups: backups) { _ in }
        try server.serve(until: read.number)
      } catch { Issue.record("\(error)") }
      ended.withLock { $0 = true }
    }
  }

  /// Ends it, and waits for its end.
  func end() throws {
    try stop.writeAll([1])
    let limit = SystemClock.now() + .seconds(20)
    while !ended.withLock({ $0 }) && SystemClock.now() < limit { SystemThread.pause(nanoseconds: 1_000_000) }
  }
}
