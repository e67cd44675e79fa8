// SPDX-License-Identifier: Apache-2.0

import Synchronization
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// How many messages a second are on the disk and acknowledged, and how long that takes, beside what the disk's bare sync takes.
struct Bench {
  private let folder: String
  private let producers: Int
  private let seconds: Int
  /// Servers that are asked the same, one after the other.
  var peers: [PeerBench] = []
  private static let payload = 256

  init(_ folder: String, producers: Int, seconds: Int) {
    self.folder = folder
    self.producers = producers
    self.seconds = seconds
  }

  func run() throws {
    let bare = try syncs()
    show("bare sync of 4 KiB", bare, per: Double(bare.reduce(0, +)) / 1e9)
    let grouped = try measure("grouped", producers, over: 2)
    show("\(producers) producers over 2 connections, as a plane with 2 loops has them", grouped, per: Double(seconds))
    let threads = try measure("grouped", producers, over: producers)
    show("\(producers) producers, each a thread with a connection", threads, per: Double(seconds))
    for peer in peers {
      try peer.prepare()
      for connections in [2, producers] {
        let times = try peer.measure(producers, over: connections, seconds: seconds, payload: Bench.payload)
        show(
          "\(peer.kind.rawValue): \(producers) producers over \(connections) connections", times, per: Double(seconds))
        let ours = connections == 2 ? grouped : threads
        say(
          "… beside it weir: \(ratio(Int64(ours.count), Int64(times.count))) × as many, "
            + "p99 \(ratio(percentile(ours, 0.99), percentile(times, 0.99))) ×")
      }
    }
    let alone = try measure("grouped", 1, over: 1)
    show("1 producer", alone, per: Double(seconds))
    let single = try measure("single", producers, over: 2)
    show("\(producers) producers over 2 connections, a sync a message", single, per: Double(seconds))
    say(
      "p99 of an acknowledgement: \(ratio(percentile(grouped, 0.99), percentile(bare, 0.99))) × that of the bare sync")
    say("group commit: \(ratio(Int64(grouped.count), Int64(single.count))) × as many as with a sync a message")
  }

  private func ratio(_ a: Int64, _ b: Int64) -> String {
    let tenths = b == 0 ? 0 : a * 10 / b
    return "\(tenths / 10).\(tenths % 10)"
  }

  private func percentile(_ times: [Int64], _ share: Double) -> Int64 {
    times.isEmpty ? 0 : times.sorted()[min(times.count - 1, Int(Double(times.count) * share))]
  }

  private func show(_ name: String, _ times: [Int64], per seconds: Double) {
    let rate = seconds > 0 ? Int(Double(times.count) / seconds) : 0
    say(
      "\(name): \(rate)/s, p50 \(percentile(times, 0.5) / 1000) µs, p99 \(percentile(times, 0.99) / 1000) µs, "
        + "longest \(percentile(times, 1) / 1000) µs")
  }

  /// 4 KiB behind the last, and a sync, as a commit of one small message is.
  private func syncs() throws -> [Int64] {
    let path = folder + "/sync"
    let file = try Descriptor.open(path, .replace)
    defer { try? Files.remove(path) }
    let page = [UInt8](repeating: 7, count: 4096)
    var times: [Int64] = []
    let end = SystemClock.now() + .seconds(2)
    while SystemClock.now() < end {
      let start = SystemClock.now()
      try file.writeAll(page)
      try file.sync()
      times.append(SystemClock.now().since(start))
    }
    return times
  }

  /// Each producer waits for its acknowledgement before it sends the next; a thread has the producers of one connection.
  private func measure(_ point: String, _ count: Int, over connections: Int) throws -> [Int64] {
    let place = folder + "/\(point)-\(count)-\(connections)"
    try Files.makeFolder(place)
    let victim = Victim(place, point)
    try victim.start()
    defer { victim.kill() }
    var declaration = QueueDeclaration(name: "bench")
    declaration.length = 100_000_000
    declaration.bytes = 1 << 40
    guard try Peer(place).ask(.declare([declaration])) == .declared else { throw Peer.Gone() }
    let all = Mutex<[Int64]>([])
    let left = Mutex(connections)
    let trouble = Mutex<String?>(nil)
    let end = SystemClock.now() + .seconds(Int64(seconds))
    for connection in 0..<connections {
      try SystemThread.start {
        do {
          let times = try Bench.produce(place, connection, producers: count / connections, until: end)
          all.withLock { $0 += times }
        } catch { trouble.withLock { $0 = "\(error)" } }
        left.withLock { $0 -= 1 }
      }
    }
    while left.withLock({ $0 }) > 0 { SystemThread.pause(nanoseconds: 5_000_000) }
    if let trouble = trouble.withLock({ $0 }) { say("trouble: \(trouble)") }
    return all.withLock { $0 }
  }

  private static func produce(_ place: String, _ connection: Int, producers: Int, until end: Instant) throws -> [Int64]
  {
    let socket = try Connecting.unix(path: StateProcess.socketPath(place))
    var outgoing: [UInt8] = []
    StateFrames.append(.hello(version: StateFrames.version), id: 0, to: &outgoing)
    let body = [UInt8](repeating: 46, count: payload)
    var sentAt = [Instant](repeating: .zero, count: producers)
    var times: [Int64] = []
    var number = 0
    func send(_ producer: Int) {
      number += 1
      let message = NewMessage(id: Array("\(connection)-\(number)".utf8), body: body)
      StateFrames.append(.enqueue(queue: "bench", [message]), id: UInt64(producer + 1), to: &outgoing)
      sentAt[producer] = SystemClock.now()
    }
    for producer in 0..<producers { send(producer) }
    try socket.writeAll(outgoing)
    var reader = StateFrameReader()
    while SystemClock.now() < end {
      let read = try socket.read(upTo: 65_536)
      if read.isEmpty { throw Peer.Gone() }
      reader.feed(read.span)
      let now = SystemClock.now()
      outgoing.removeAll(keepingCapacity: true)
      while let content = try reader.next() {
        let (id, reply) = try StateFrames.reply(content.span)
        if id == 0 { continue }
        guard case .enqueued = reply else { throw Peer.Gone() }
        times.append(now.since(sentAt[Int(id) - 1]))
        send(Int(id) - 1)
      }
      try socket.writeAll(outgoing)
    }
    return times
  }
}
