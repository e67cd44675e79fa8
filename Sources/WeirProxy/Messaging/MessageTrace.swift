// SPDX-License-Identifier: Apache-2.0
import Crypto
import WeirWire

/// The trace that the attempts of a message are in (W3C Trace Context): the sender's, or one of the message's own.
///
/// A message that came without a good `traceparent` gets a trace made of what it is: so all of its attempts, in every group, at
/// every partner and after every crash, are in one trace, and nothing has to be kept for it.
struct MessageTrace {
  /// The sender's place in it; each attempt is a span below.
  let sender: TraceContext
  /// The message came with it.
  let isGiven: Bool

  /// - Parameters:
  ///   - fields: whole header lines that came with the message.
  ///   - of: the queue, log or saga that it is of.
  ///   - id: tells it from all others there, with `at`.
  ///   - sample: the share of traces that are recorded, for those that begin here.
  init(fields: [UInt8], of name: String, id: [UInt8], at: Int64, sample: Double) {
    if let given = MessageTrace.given(fields) {
      sender = given
      isGiven = true
      return
    }
    isGiven = false
    var hash = SHA256()
    hash.update(data: Array("trace of a message\0\(name)\0\(at)\0".utf8))
    hash.update(data: id)
    var words: [UInt64] = []
    for byte in hash.finalize().enumerated() {
      if byte.offset % 8 == 0 { words.append(0) }
      words[words.count - 1] = words[words.count - 1] << 8 | UInt64(byte.element)
    }
    let isSampled = Double(words[3] >> 11) * 0x1p-53 < sample
    sender = TraceContext(traceHigh: words[0], traceLow: words[1], span: words[2], flags: isSampled ? 1 : 0)
  }

  /// Of a message of a queue, or of the entry of a log that it was made from.
  init(_ message: LeasedMessage, of name: String, sample: Double) {
    // An entry comes to several groups, as a message of each: its position is what they share.
    self.init(
      fields: message.message.fields, of: name,
      id: message.entry.map { Array("\($0.position)".utf8) } ?? message.message.id,
      at: message.entry?.at ?? message.enqueuedAt, sample: sample)
  }

  /// Nil when there is none, or several: then nobody knows which one counts.
  private static func given(_ fields: [UInt8]) -> TraceContext? {
    var found: TraceContext?
    for range in lines(fields) where named("traceparent:", fields, range) {
      if found != nil { return nil }
      var start = range.lowerBound + 12
      var end = range.upperBound
      while start < end, isBlank(fields[start]) { start += 1 }
      while end > start, isBlank(fields[end - 1]) { end -= 1 }
      guard let context = TraceContext.parse(fields.span, Run(start, end)) else { return nil }
      found = context
    }
    return found
  }

  /// The lines with its trace in them, once.
  ///
  /// A state of a trace that nobody knows says nothing.
  func written(into fields: [UInt8]) -> [UInt8] {
    if isGiven { return fields }
    var out: [UInt8] = []
    out.reserveCapacity(fields.count + 72)
    for range in MessageTrace.lines(fields) {
      if MessageTrace.named("traceparent:", fields, range) || MessageTrace.named("tracestate:", fields, range) {
        continue
      }
      out += fields[range]
    }
    return out + sender.line
  }

  /// Each with its line end.
  private static func lines(_ fields: [UInt8]) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var start = 0
    for i in fields.indices where fields[i] == 0x0a {
      found.append(start..<i + 1)
      start = i + 1
    }
    if start < fields.count { found.append(start..<fields.count) }
    return found
  }

  /// Names of kept fields are in lower case; those of older messages may not be.
  private static func named(_ name: StaticString, _ fields: [UInt8], _ range: Range<Int>) -> Bool {
    guard range.count >= name.utf8CodeUnitCount else { return false }
    return name.withUTF8Buffer { wanted in
      for i in 0..<wanted.count where fields[range.lowerBound + i] | (i + 1 < wanted.count ? 0x20 : 0) != wanted[i] {
        return false
      }
      return true
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a }
}

extension TraceContext {
  /// The whole field, with its line end.
  var line: [UInt8] {
    var buffer = HeadBuffer(capacity: 80)
    buffer.appendTraceparent(self)
    return Array(buffer.storage.prefix(buffer.count))
  }

  /// The field's value.
  var text: String { String(decoding: line.dropFirst("traceparent: ".utf8.count).dropLast(2), as: UTF8.self) }
}
