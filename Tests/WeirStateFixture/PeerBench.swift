// SPDX-License-Identifier: Apache-2.0

import Synchronization
import WeirBase
import WeirPlatform

/// The same producers before another server, each in that server's own protocol.
struct PeerBench {
  enum Kind: String {
    /// A stream, `XADD`; answers come in the order of what was asked.
    case redis
    /// JetStream; an acknowledgement names its producer by the subject that it comes on.
    case nats
  }

  struct Strange: Error, CustomStringConvertible { var description: String }

  let kind: Kind
  let port: UInt16

  /// `redis=6390`.
  init?(_ text: String) {
    let parts = text.split(separator: "=")
    guard parts.count == 2, let kind = Kind(rawValue: String(parts[0])), let port = UInt16(parts[1]) else { return nil }
    self.kind = kind
    self.port = port
  }

  /// Times of acknowledgements, in nanoseconds.
  func measure(_ producers: Int, over connections: Int, seconds: Int, payload: Int) throws -> [Int64] {
    let all = Mutex<[Int64]>([])
    let left = Mutex(connections)
    let trouble = Mutex<(any Error)?>(nil)
    let end = SystemClock.now() + .seconds(Int64(seconds))
    for connection in 0..<connections {
      try SystemThread.start {
        do {
          let times = try produce(connection, producers / connections, payload, until: end)
          all.withLock { $0 += times }
        } catch { trouble.withLock { $0 = error } }
        left.withLock { $0 -= 1 }
      }
    }
    while left.withLock({ $0 }) > 0 { SystemThread.pause(nanoseconds: 5_000_000) }
    if let trouble = trouble.withLock({ $0 }) { throw trouble }
    return all.withLock { $0 }
  }

  /// Makes the stream; Redis makes its own with the first entry.
  func prepare() throws {
    guard kind == .nats else { return }
    let stream = #"{"name":"bench","subjects":["bench"],"storage":"file"}"#
    let socket = try connect(99)
    try socket.writeAll(Array("PUB $JS.API.STREAM.CREATE.bench _INBOX.99.0 \(stream.utf8.count)\r\n\(stream)\r\n".utf8))
    var lines = Lines(socket)
    while true {
      let line = try lines.next()
      if line.hasPrefix("MSG ") {
        let answer = try lines.next()
        if answer.contains(#""error""#) { throw Strange(description: answer) }
        return
      }
    }
  }

  private func connect(_ connection: Int) throws -> Descriptor {
    let socket = try Connecting.tcp(address: "127.0.0.1", port: port)
    if kind == .nats {
      let hello = #"CONNECT {"verbose":false,"pedantic":false}"# + "\r\nSUB _INBOX.\(connection).* 1\r\n"
      try socket.writeAll(Array(hello.utf8))
    }
    return socket
  }

  private func produce(_ connection: Int, _ producers: Int, _ payload: Int, until end: Instant) throws -> [Int64] {
    let socket = try connect(connection)
    let body = String(repeating: ".", count: payload)
    var outgoing: [UInt8] = []
    var sentAt = [Instant](repeating: .zero, count: producers)
    // Those who wait, in the order in which they have asked.
    var waiting: [Int] = []
    var times: [Int64] = []
    func send(_ producer: Int) {
      switch kind {
      case .redis:
        outgoing += Array("*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nb\r\n$\(payload)\r\n\(body)\r\n".utf8)
        waiting.append(producer)
      case .nats: outgoing += Array("PUB bench _INBOX.\(connection).\(producer) \(payload)\r\n\(body)\r\n".utf8)
      }
      sentAt[producer] = SystemClock.now()
    }
    for producer in 0..<producers { send(producer) }
    try socket.writeAll(outgoing)
    var lines = Lines(socket)
    while SystemClock.now() < end {
      outgoing.removeAll(keepingCapacity: true)
      // All that has come is answered in one write.
      repeat {
        let line = try lines.next()
        let producer: Int
        switch kind {
        case .redis:
          // A bulk string: its length, then the entry's id.
          guard line.hasPrefix("$") else { throw Strange(description: line) }
          _ = try lines.next()
          producer = waiting.removeFirst()
        case .nats:
          if line == "PING" {
            outgoing += Array("PONG\r\n".utf8)
            continue
          }
          guard line.hasPrefix("MSG ") else {
            if line.hasPrefix("-ERR") { throw Strange(description: line) }
            continue
          }
          let answer = try lines.next()
          if answer.contains(#""error""#) { throw Strange(description: answer) }
          let subject = line.split(separator: " ")[1]
          producer = subject.split(separator: ".").last.flatMap { Int($0) } ?? 0
        }
        times.append(SystemClock.now().since(sentAt[producer]))
        send(producer)
      } while lines.hasLine
      try socket.writeAll(outgoing)
    }
    return times
  }

  /// What a socket says, by lines.
  private struct Lines {
    let socket: Descriptor
    private var buffer: [UInt8] = []
    private var at = 0

    init(_ socket: Descriptor) { self.socket = socket }

    /// Whether one more is here; two, where an answer has two: a half one would be waited for in the middle of a write.
    var hasLine: Bool {
      guard let first = buffer[at...].firstIndex(of: 0x0a) else { return false }
      return buffer[(first + 1)...].contains(0x0a)
    }

    mutating func next() throws -> String {
      while true {
        if let end = buffer[at...].firstIndex(of: 0x0a) {
          defer { at = end + 1 }
          return String(decoding: buffer[at..<(end > at ? end - 1 : end)], as: UTF8.self)
        }
        buffer.removeFirst(at)
        at = 0
        let more = try socket.read(upTo: 65_536)
        if more.isEmpty { throw Strange(description: "the connection has ended") }
        buffer += more
      }
    }
  }
}
