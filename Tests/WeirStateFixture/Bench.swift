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
  private static let payload = 256

  init(_ folder: String, producers: Int, seconds: Int) {
    self.folder = folder
    self.producers = producers
    self.seconds = seconds
  }

  func run() throws {
    let bare = try syncs()
    show("bare sync of 4 KiB", bare, per: Double(bare.reduce(0, +)) / 1e9)
    let grouped = try measure("grouped", producers)
    show("\(producers) producers, group commit", grouped, per: Double(seconds))
    let alone = try measure("grouped", 1)
    show("1 producer", alone, per: Double(seconds))
    let single = try measure("single", producers)
    show("\(producers) producers, a sync a message", single, per: Double(seconds))
    say(
      "p99 of an acknowledgement: \(ratio(percentile(grouped, 0.99), percentile(bare, 0.99))) × that of the bare sync, "
        + "\(ratio(percentile(grouped, 0.99), percentile(bare, 0.5))) × its median")
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

  /// Each waits for its acknowledgement before it sends the next.
  private func measure(_ point: String, _ count: Int) throws -> [Int64] {
    let place = folder + "/\(point)-\(count)"
    try Files.makeFolder(place)
    let victim = Victim(place, point)
    try victim.start()
    defer { victim.kill() }
    var declaration = QueueDeclaration(name: "bench")
    declaration.length = 100_000_000
    declaration.bytes = 1 << 40
    guard try Peer(place).ask(.declare([declaration])) == .declared else { throw Peer.Gone() }
    let all = Mutex<[Int64]>([])
    let left = Mutex(count)
    let trouble = Mutex<String?>(nil)
    let end = SystemClock.now() + .seconds(Int64(seconds))
    for producer in 0..<count {
      try SystemThread.start {
        let peer = Peer(place)
        peer.limit = end
        var times: [Int64] = []
        var number = 0
        let body = [UInt8](repeating: 46, count: Bench.payload)
        do {
          while SystemClock.now() < end {
            number += 1
            let message = NewMessage(id: Array("\(producer)-\(number)".utf8), body: body)
            let start = SystemClock.now()
            let reply = try peer.ask(.enqueue(queue: "bench", [message]))
            times.append(SystemClock.now().since(start))
            guard case .enqueued = reply else { throw Peer.Gone() }
          }
        } catch { trouble.withLock { $0 = "\(error)" } }
        all.withLock { $0 += times }
        left.withLock { $0 -= 1 }
      }
    }
    while left.withLock({ $0 }) > 0 { SystemThread.pause(nanoseconds: 5_000_000) }
    if let trouble = trouble.withLock({ $0 }) { say("trouble: \(trouble)") }
    return all.withLock { $0 }
  }
}
