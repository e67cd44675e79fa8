// SPDX-License-Identifier: Apache-2.0

/// Writes one frame behind what stands there already, without a copy of it.
struct StateWriter {
  var bytes: [UInt8]
  private let start: Int

  /// Takes the bytes; `end` gives them back.
  init(continuing out: inout [UInt8]) {
    bytes = []
    swap(&bytes, &out)
    start = bytes.count
    u32(0)
  }

  init() {
    bytes = []
    start = 0
  }

  mutating func begin(_ kind: UInt8, _ id: UInt64) {
    u8(kind)
    u64(id)
  }

  /// Says at the frame's beginning how long it has become.
  mutating func end(into out: inout [UInt8]) {
    let length = UInt32(bytes.count - start - 4)
    for i in 0..<4 { bytes[start + i] = UInt8(truncatingIfNeeded: length >> UInt32(24 - 8 * i)) }
    swap(&bytes, &out)
  }

  mutating func u8(_ value: UInt8) { bytes.append(value) }

  mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }

  mutating func u16(_ value: UInt16) {
    bytes.append(UInt8(value >> 8))
    bytes.append(UInt8(value & 255))
  }

  mutating func u32(_ value: UInt32) {
    u16(UInt16(value >> 16))
    u16(UInt16(value & 0xffff))
  }

  mutating func u64(_ value: UInt64) {
    u32(UInt32(value >> 32))
    u32(UInt32(value & 0xffff_ffff))
  }

  mutating func i64(_ value: Int64) { u64(UInt64(bitPattern: value)) }

  mutating func optional(_ value: Int64?) {
    flag(value != nil)
    if let value { i64(value) }
  }

  mutating func run(_ run: [UInt8]) {
    u32(UInt32(run.count))
    bytes += run
  }

  mutating func text(_ text: String) { run(Array(text.utf8)) }

  mutating func digest(_ digest: StateDigest) {
    u64(digest.a)
    u64(digest.b)
    u64(digest.c)
    u64(digest.d)
  }

  mutating func list<Element>(_ list: [Element], _ write: (inout StateWriter, Element) -> Void) {
    u16(UInt16(list.count))
    for element in list { write(&self, element) }
  }
}

/// Reads a frame's content from its beginning; what is not there, or too much, is refused.
struct StateReader {
  private var at = 0

  mutating func u8(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt8 { UInt8(try number(bytes, 1)) }
  mutating func u16(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt16 { UInt16(try number(bytes, 2)) }
  mutating func u64(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt64 { try number(bytes, 8) }

  mutating func flag(_ bytes: Span<UInt8>) throws(StateFrameError) -> Bool {
    switch try u8(bytes) {
    case 0: false
    case 1: true
    default: throw .badValue
    }
  }

  /// A length of time or a point of it: not negative.
  mutating func length(_ bytes: Span<UInt8>) throws(StateFrameError) -> Int64 {
    guard let value = Int64(exactly: try u64(bytes)) else { throw .badValue }
    return value
  }

  mutating func optional(_ bytes: Span<UInt8>) throws(StateFrameError) -> Int64? {
    try flag(bytes) ? try length(bytes) : nil
  }

  mutating func digest(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateDigest {
    StateDigest(try u64(bytes), try u64(bytes), try u64(bytes), try u64(bytes))
  }

  mutating func run(_ bytes: Span<UInt8>, atMost limit: Int) throws(StateFrameError) -> [UInt8] {
    let count = Int(try number(bytes, 4))
    if count > limit { throw .badValue }
    guard count <= bytes.count - at else { throw .tooShort }
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for i in at..<at + count { out.append(bytes[i]) }
    at += count
    return out
  }

  mutating func text(_ bytes: Span<UInt8>, atMost limit: Int) throws(StateFrameError) -> String {
    let run = try run(bytes, atMost: limit)
    guard let text = String(validating: run, as: UTF8.self) else { throw .badValue }
    return text
  }

  mutating func list<Element>(
    _ bytes: Span<UInt8>, atMost limit: Int,
    _ read: (inout StateReader, Span<UInt8>) throws(StateFrameError) -> Element
  ) throws(StateFrameError) -> [Element] {
    let count = Int(try u16(bytes))
    if count > limit { throw .badValue }
    var list: [Element] = []
    for _ in 0..<count { list.append(try read(&self, bytes)) }
    return list
  }

  func finish(_ bytes: Span<UInt8>) throws(StateFrameError) {
    if at != bytes.count { throw .surplus(bytes.count - at) }
  }

  private mutating func number(_ bytes: Span<UInt8>, _ count: Int) throws(StateFrameError) -> UInt64 {
    guard count <= bytes.count - at else { throw .tooShort }
    var value: UInt64 = 0
    for i in at..<at + count { value = value << 8 | UInt64(bytes[i]) }
    at += count
    return value
  }
}
