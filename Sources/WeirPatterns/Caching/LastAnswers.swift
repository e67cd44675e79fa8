// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// The last good answer to each of many questions, kept to be given when no new one can be had.
///
/// Source: RFC 5861 §4 (`stale-if-error`), here without a cache before it: nothing is ever given from here while the callee
/// answers. What could surprise: an answer is given however old it is; its age is said with it.
///
/// ## Invariants
/// 1. What is held never has more bytes than the limit, keys and heads included; what was renewed longest ago goes first.
/// 2. A key finds its own answer or none.
public struct LastAnswers: Sendable {
  public struct Settings: Sendable, Equatable {
    /// Of all that is held.
    public var bytesMax = 16 << 20

    public init() {}
  }

  /// One answer's body may have so many bytes: 64 of the largest fit.
  public static let answerMax = 256 << 10

  public struct Answer: Sendable, Equatable {
    public var at: Instant
    /// Field lines.
    public var head: [UInt8]
    public var body: [UInt8]

    public init(at: Instant, head: [UInt8], body: [UInt8]) {
      self.at = at
      self.head = head
      self.body = body
    }
  }

  private struct Entry: Sendable {
    var answer: Answer
    var stamp: UInt64
  }

  private let settings: Settings
  /// Looked up only.
  private var entries: [[UInt8]: Entry] = [:]
  /// In the order of renewal from `first` on; an entry whose stamp is another was renewed since.
  private var order: [(key: [UInt8], stamp: UInt64)] = []
  private var first = 0
  private var stamp: UInt64 = 0
  public private(set) var bytes = 0

  public init(_ settings: Settings = .init()) { self.settings = settings }

  public var count: Int { entries.count }

  public func has(_ key: [UInt8]) -> Bool { entries[key] != nil }

  public func find(_ key: [UInt8]) -> Answer? { entries[key]?.answer }

  /// Keeps an answer in the stead of an older one; too large a one is not kept.
  public mutating func keep(_ answer: Answer, for key: [UInt8]) {
    let size = LastAnswers.size(answer, key)
    if answer.body.count > LastAnswers.answerMax || size > settings.bytesMax { return }
    if let old = entries[key] { bytes -= LastAnswers.size(old.answer, key) }
    stamp += 1
    entries[key] = Entry(answer: answer, stamp: stamp)
    order.append((key, stamp))
    bytes += size
    while bytes > settings.bytesMax || order.count - first > 2 * entries.count + 16 { dropOldest() }
    if first > 1024 && first * 2 > order.count {
      order.removeFirst(first)
      first = 0
    }
  }

  private mutating func dropOldest() {
    guard first < order.count else { return }
    let (key, stamp) = order[first]
    first += 1
    guard let entry = entries[key] else { return }
    if entry.stamp == stamp {
      if bytes > settings.bytesMax {
        bytes -= LastAnswers.size(entry.answer, key)
        entries[key] = nil
      } else {
        // Only its place in the line was old.
        order.append((key, stamp))
      }
    }
  }

  private static func size(_ answer: Answer, _ key: [UInt8]) -> Int {
    answer.head.count + answer.body.count + key.count * 2 + 128
  }

  public func violation() -> String? {
    if bytes > settings.bytesMax { return "\(bytes) bytes are held, and \(settings.bytesMax) may be" }
    let sum = entries.reduce(0) { $0 + LastAnswers.size($1.value.answer, $1.key) }
    return sum == bytes ? nil : "\(bytes) bytes are counted, and \(sum) are held"
  }
}
