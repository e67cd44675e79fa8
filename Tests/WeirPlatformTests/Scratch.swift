// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPlatform

/// A folder of its own for a test.
final class Scratch {
  let path: String

  init() throws {
    path = try Files.canonical(NSTemporaryDirectory()) + "/weir-\(UUID().uuidString.prefix(8))"
    try Files.makeFolder(path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

struct NotInTime: Error { var what: String }

/// Waits until the condition holds; looks every five milliseconds.
func eventually(_ what: String, within limit: Duration = .seconds(10), _ condition: () throws -> Bool) throws {
  let end = SystemClock.now() + limit
  while !(try condition()) {
    if SystemClock.now() >= end { throw NotInTime(what: what) }
    SystemThread.pause(nanoseconds: 5_000_000)
  }
}

/// Runs a shell script to its end; what it wrote.
func shell(_ script: String, _ change: (inout Spawn) throws -> Void = { _ in }) throws -> String {
  let (read, write) = try Descriptor.pipe()
  var spawn = Spawn(
    path: "/bin/sh", arguments: ["sh", "-c", script], environment: [(name: "PATH", value: "/usr/bin:/bin")])
  spawn.descriptors = [(write, 1)]
  try change(&spawn)
  let pid = try spawn.start()
  _ = Children.reap(pid: pid, waiting: true)
  return String(decoding: try read.read(upTo: 65536), as: UTF8.self)
}
