// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// When to look at which connection again: a 4-ary heap of flat values, earliest first.
///
/// A connection has at most one entry that counts; one that is found stale is dropped when its time comes, never searched
/// for. A connection whose next wake moves into the future keeps its entry and is armed again when that fires: a busy
/// connection costs one entry per attempt limit, not one per request.
struct WakeHeap {
  struct Entry {
    var at: Int64
    var index: Int32
    var generation: UInt32
  }

  private var entries: [Entry] = []

  init() { entries.reserveCapacity(1024) }

  var first: Int64 { entries.first?.at ?? .max }

  mutating func push(_ entry: Entry) {
    entries.append(entry)
    var i = entries.count - 1
    while i > 0 {
      let parent = (i - 1) >> 2
      if entries[parent].at <= entry.at { break }
      entries[i] = entries[parent]
      i = parent
    }
    entries[i] = entry
  }

  /// The earliest entry whose time has come.
  mutating func pop(now: Int64) -> Entry? {
    guard let top = entries.first, top.at <= now, let last = entries.popLast() else { return nil }
    if entries.isEmpty { return top }
    var i = 0
    while true {
      let child = i << 2 + 1
      if child >= entries.count { break }
      var least = child
      for other in child..<min(child + 4, entries.count) where entries[other].at < entries[least].at { least = other }
      if entries[least].at >= last.at { break }
      entries[i] = entries[least]
      i = least
    }
    entries[i] = last
    return top
  }
}
