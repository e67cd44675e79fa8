// SPDX-License-Identifier: Apache-2.0

/// Where a head is written: an array that is kept and cleared, so that no head costs an allocation.
public struct HeadBuffer: Sendable, Equatable {
  /// The bytes written are the first ``count`` of these.
  public private(set) var storage: [UInt8]
  public private(set) var count = 0

  public init(capacity: Int = 4 << 10) { storage = [UInt8](repeating: 0, count: max(64, capacity)) }

  @inline(__always)
  public mutating func clear() { count = 0 }

  /// Takes back what was written after the first `count` bytes.
  public mutating func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "only what was written is taken back")
    self.count = count
  }

  /// Room for `extra` more bytes; doubles, so that growth ends soon.
  @inline(__always)
  private mutating func reserve(_ extra: Int) {
    if count &+ extra > storage.count { grow(extra) }
  }

  @inline(never)
  private mutating func grow(_ extra: Int) {
    let wanted = max(storage.count * 2, count + extra)
    storage.append(contentsOf: repeatElement(0, count: wanted - storage.count))
  }

  public mutating func append(_ text: StaticString) {
    let length = text.utf8CodeUnitCount
    reserve(length)
    Load.copy(text, to: &storage, at: count)
    count &+= length
  }

  public mutating func append(_ bytes: Span<UInt8>) {
    reserve(bytes.count)
    Load.copy(bytes, to: &storage, at: count)
    count &+= bytes.count
  }

  public mutating func append(_ bytes: Span<UInt8>, _ range: Range<Int>) { append(bytes.extracting(range)) }

  public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

  func at(_ index: Int) -> UInt8 { storage[index] }
  mutating func set(_ index: Int, _ byte: UInt8) { storage[index] = byte }

  public mutating func append(byte: UInt8) {
    reserve(1)
    storage[count] = byte
    count &+= 1
  }

  /// `value` in decimal; it is not negative.
  public mutating func append(decimal value: Int64) {
    precondition(value >= 0, "lengths and counts are not negative")
    var digits = InlineArray<20, UInt8>(repeating: 0)
    var i = 20
    var rest = UInt64(value)
    repeat {
      i -= 1
      digits[i] = 0x30 + UInt8(rest % 10)
      rest /= 10
    } while rest > 0
    reserve(20 - i)
    while i < 20 {
      storage[count] = digits[i]
      count += 1
      i += 1
    }
  }

  mutating func append(twoDigits value: Int) {
    append(byte: 0x30 + UInt8(value / 10 % 10))
    append(byte: 0x30 + UInt8(value % 10))
  }

  /// `value` in lower-case hexadecimal with 16 digits.
  public mutating func append(hex16 value: UInt64) {
    reserve(16)
    Load.store(HeadBuffer.digits(UInt32(truncatingIfNeeded: value >> 32)), to: &storage, at: count)
    Load.store(HeadBuffer.digits(UInt32(truncatingIfNeeded: value)), to: &storage, at: count &+ 8)
    count &+= 16
  }

  /// Eight digits at once: each half, byte and nibble goes to its place, then each nibble becomes a letter.
  @inline(__always)
  private static func digits(_ value: UInt32) -> UInt64 {
    var x = UInt64(value)
    x = (x & 0xffff) << 32 | x >> 16
    x = (x & 0x0000_00ff_0000_00ff) << 16 | (x & 0x0000_ff00_0000_ff00) >> 8
    x = (x & 0x000f_000f_000f_000f) << 8 | (x & 0x00f0_00f0_00f0_00f0) >> 4
    let letters = ((x &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
    return x &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
  }

  /// `value` in lower-case hexadecimal without leading zeros: a chunk's size.
  public mutating func append(hex value: UInt64) {
    var shift = UInt64(max(1, (67 - value.leadingZeroBitCount) / 4) * 4)
    while shift > 0 {
      shift -= 4
      let nibble = UInt8((value >> shift) & 15)
      append(byte: nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
    }
  }

  /// The request line and the kept fields of a request, as they go on: origin form, HTTP/1.1.
  ///
  /// No empty line yet.
  public mutating func appendRequest(_ bytes: Span<UInt8>, _ head: RequestHead) {
    var from = head.start
    if !head.flags.isDisjoint(with: [.http10, .absolute]) {
      append(bytes, head.methodRun.range)
      append(" ")
      if head.target.isEmpty {
        append(head.method == .options ? "*" : "/")
      } else {
        append(bytes, head.target.range)
      }
      append(" HTTP/1.1\r\n")
      appendMissingHost(bytes, head)
      from = head.fields
    }
    appendKept(bytes, from, head.length - 2, head.cuts)
  }

  /// As ``appendRequest(_:_:)`` with a part of the target: its end, from a `/`, a `?` or nothing on.
  public mutating func appendRequest(_ bytes: Span<UInt8>, _ head: RequestHead, target: Run) {
    append(bytes, head.methodRun.range)
    append(" ")
    if target.isEmpty || bytes[Int(target.start)] != 0x2f { append("/") }
    append(bytes, target.range)
    append(" HTTP/1.1\r\n")
    appendMissingHost(bytes, head)
    appendKept(bytes, head.fields, head.length - 2, head.cuts)
  }

  /// As ``appendRequest(_:_:)`` with a target, and perhaps a host, that are not the request's own.
  ///
  /// With a host the lines of the one that came must have been dropped.
  public mutating func appendRequest(_ bytes: Span<UInt8>, _ head: RequestHead, target: HeadBuffer, host: [UInt8]?) {
    append(bytes, head.methodRun.range)
    append(" ")
    append(target.storage.span, 0..<target.count)
    append(" HTTP/1.1\r\n")
    if let host {
      append("Host: ")
      append(host)
      append("\r\n")
    } else {
      appendMissingHost(bytes, head)
    }
    appendKept(bytes, head.fields, head.length - 2, head.cuts)
  }

  /// HTTP/1.1 wants a `Host` that an HTTP/1.0 request with an absolute target need not have.
  private mutating func appendMissingHost(_ bytes: Span<UInt8>, _ head: RequestHead) {
    guard head.flags.contains(.hostless) else { return }
    append("Host: ")
    append(bytes, head.host.range)
    append("\r\n")
  }

  /// The status line and the kept fields of an answer.
  ///
  /// No empty line yet.
  public mutating func appendResponse(_ bytes: Span<UInt8>, _ head: ResponseHead) {
    var from = 0
    if head.flags.contains(.http10) {
      append("HTTP/1.1")
      from = 8
    }
    appendKept(bytes, from, head.length - 2, head.cuts)
  }

  private mutating func appendKept(_ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ cuts: Cuts) {
    var from = start
    for i in 0..<cuts.count {
      let cut = cuts[i]
      if Int(cut.start) > from { append(bytes, from..<Int(cut.start)) }
      from = Int(cut.end)
    }
    if end > from { append(bytes, from..<end) }
  }
}
