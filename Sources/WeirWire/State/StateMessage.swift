// SPDX-License-Identifier: Apache-2.0

/// 256 bits: a digest, as keys and fingerprints of the state process are.
public struct StateDigest: Sendable, Hashable, BitwiseCopyable {
  public var a, b, c, d: UInt64

  public init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) {
    self.a = a
    self.b = b
    self.c = c
    self.d = d
  }

  /// The highest bits first; nil unless there are 32 bytes.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 32 else { return nil }
    var words = InlineArray<4, UInt64>(repeating: 0)
    for (i, byte) in bytes.enumerated() { words[i / 8] = words[i / 8] << 8 | UInt64(byte) }
    self.init(words[0], words[1], words[2], words[3])
  }

  public var bytes: [UInt8] {
    var out = StateWriter()
    out.digest(self)
    return out.bytes
  }
}

/// What the plane asks of the state process.
public enum StateRequest: Sendable, Equatable {
  /// The first word on a connection.
  case hello(version: UInt16)
  /// May a request with this key be executed? Answered when it can be said, at the latest after `wait` milliseconds.
  case claim(Claim)
  /// It was executed, with this answer; nil: it was, and its answer is too large to be kept.
  case complete(key: StateDigest, owner: Owner, answer: Answer?)
  /// It was not executed, or nobody can say: who asks next may.
  case release(key: StateDigest, owner: Owner)

  public struct Owner: Sendable, Hashable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
      self.high = high
      self.low = low
    }
  }

  /// Times are in milliseconds.
  public struct Claim: Sendable, Equatable, BitwiseCopyable {
    public var key: StateDigest
    public var fingerprint: StateDigest
    public var owner: Owner
    public var lease: Int64
    public var keep: Int64
    public var wait: Int64

    public init(
      key: StateDigest, fingerprint: StateDigest, owner: Owner, lease: Int64, keep: Int64, wait: Int64
    ) {
      self.key = key
      self.fingerprint = fingerprint
      self.owner = owner
      self.lease = lease
      self.keep = keep
      self.wait = wait
    }
  }

  /// An answer as it is kept: status, whole field lines, body.
  public struct Answer: Sendable, Equatable {
    public var status: UInt16
    public var fields: [UInt8]
    public var body: [UInt8]

    public init(status: UInt16, fields: [UInt8], body: [UInt8]) {
      self.status = status
      self.fields = fields
      self.body = body
    }
  }
}

/// What the state process answers; each stands under the number of its request.
public enum StateReply: Sendable, Equatable {
  case welcome(version: UInt16)
  /// The claim is granted, and on the disk.
  case execute
  /// `waited`: the execution was under way when it was asked.
  case replay(StateRequest.Answer, waited: Bool = false)
  case notKept
  /// Another still executes; try again after so many milliseconds.
  case busy(Int64)
  case mismatch
  /// What was completed is on the disk.
  case stored
  /// The lease had gone to another before.
  case lost
  case released
  case failed(Failure)

  public enum Failure: UInt8, Sendable, CaseIterable {
    /// There is no room on the disk.
    case full = 1
    /// The disk or the database failed.
    case broken = 2
    /// The two ends do not speak the same version.
    case version = 3
    /// As much waits as may.
    case tooMany = 4
  }
}

/// What bytes of the state protocol cannot be; the connection is not to be used any more.
public enum StateFrameError: Error, Sendable, Equatable {
  case tooLong(Int)
  case tooShort
  case unknownKind(UInt8)
  case badValue
  case surplus(Int)
}

/// The frames between plane and state process.
///
///     length (4 bytes, of what follows) · kind (1) · number of the request (8) · what the kind has; highest byte first
///
/// Requests have kinds below 128, replies from there on. Numbers are the asking side's; replies come in any order.
public enum StateFrames {
  /// Both ends are one binary; they differ only across an upgrade in place.
  public static let version: UInt16 = 1
  /// A body of 8 MiB with its fields, the largest answer that is kept, fits.
  public static let bytesMax = 9 << 20
  public static let answerBytesMax = 8 << 20

  public static func append(_ request: StateRequest, id: UInt64, to out: inout [UInt8]) {
    var writer = StateWriter()
    switch request {
    case .hello(let version):
      writer.begin(1, id)
      writer.u16(version)
    case .claim(let claim):
      writer.begin(2, id)
      writer.digest(claim.key)
      writer.digest(claim.fingerprint)
      writer.owner(claim.owner)
      writer.u64(UInt64(bitPattern: claim.lease))
      writer.u64(UInt64(bitPattern: claim.keep))
      writer.u64(UInt64(bitPattern: claim.wait))
    case .complete(let key, let owner, let answer):
      writer.begin(3, id)
      writer.digest(key)
      writer.owner(owner)
      writer.bytes.append(answer == nil ? 0 : 1)
      if let answer { writer.answer(answer) }
    case .release(let key, let owner):
      writer.begin(4, id)
      writer.digest(key)
      writer.owner(owner)
    }
    writer.end(into: &out)
  }

  public static func append(_ reply: StateReply, id: UInt64, to out: inout [UInt8]) {
    var writer = StateWriter()
    switch reply {
    case .welcome(let version):
      writer.begin(128, id)
      writer.u16(version)
    case .execute: writer.begin(129, id)
    case .replay(let answer, let waited):
      writer.begin(130, id)
      writer.bytes.append(waited ? 1 : 0)
      writer.answer(answer)
    case .notKept: writer.begin(131, id)
    case .busy(let milliseconds):
      writer.begin(132, id)
      writer.u64(UInt64(bitPattern: milliseconds))
    case .mismatch: writer.begin(133, id)
    case .stored: writer.begin(134, id)
    case .lost: writer.begin(135, id)
    case .released: writer.begin(136, id)
    case .failed(let failure):
      writer.begin(137, id)
      writer.bytes.append(failure.rawValue)
    }
    writer.end(into: &out)
  }

  /// A frame's content as a request.
  public static func request(_ content: Span<UInt8>) throws(StateFrameError) -> (id: UInt64, request: StateRequest) {
    var reader = StateReader()
    let kind = try reader.u8(content)
    let id = try reader.u64(content)
    let request: StateRequest
    switch kind {
    case 1: request = .hello(version: try reader.u16(content))
    case 2:
      let claim = StateRequest.Claim(
        key: try reader.digest(content), fingerprint: try reader.digest(content), owner: try reader.owner(content),
        lease: try reader.length(content), keep: try reader.length(content), wait: try reader.length(content))
      request = .claim(claim)
    case 3:
      let key = try reader.digest(content)
      let owner = try reader.owner(content)
      switch try reader.u8(content) {
      case 0: request = .complete(key: key, owner: owner, answer: nil)
      case 1: request = .complete(key: key, owner: owner, answer: try reader.answer(content))
      default: throw .badValue
      }
    case 4: request = .release(key: try reader.digest(content), owner: try reader.owner(content))
    default: throw .unknownKind(kind)
    }
    try reader.finish(content)
    return (id, request)
  }

  /// A frame's content as a reply.
  public static func reply(_ content: Span<UInt8>) throws(StateFrameError) -> (id: UInt64, reply: StateReply) {
    var reader = StateReader()
    let kind = try reader.u8(content)
    let id = try reader.u64(content)
    let reply: StateReply
    switch kind {
    case 128: reply = .welcome(version: try reader.u16(content))
    case 129: reply = .execute
    case 130:
      let waited = try reader.u8(content)
      guard waited < 2 else { throw .badValue }
      reply = .replay(try reader.answer(content), waited: waited == 1)
    case 131: reply = .notKept
    case 132: reply = .busy(try reader.length(content))
    case 133: reply = .mismatch
    case 134: reply = .stored
    case 135: reply = .lost
    case 136: reply = .released
    case 137:
      guard let failure = StateReply.Failure(rawValue: try reader.u8(content)) else { throw .badValue }
      reply = .failed(failure)
    default: throw .unknownKind(kind)
    }
    try reader.finish(content)
    return (id, reply)
  }
}

/// Cuts a stream of bytes into frames.
///
/// ## Invariants
/// 1. The frames do not depend on how the bytes were split.
/// 2. It holds at most one frame that is not whole, and what was fed behind it.
public struct StateFrameReader: Sendable, Equatable {
  private var buffer: [UInt8] = []
  private var start = 0

  public init() {}

  /// Bytes that are held.
  public var count: Int { buffer.count - start }

  public mutating func feed(_ bytes: Span<UInt8>) {
    if start > 0 {
      buffer.removeFirst(start)
      start = 0
    }
    buffer.reserveCapacity(buffer.count + bytes.count)
    for i in bytes.indices { buffer.append(bytes[i]) }
  }

  /// The next whole frame's content, or nil.
  public mutating func next() throws(StateFrameError) -> ArraySlice<UInt8>? {
    guard count >= 4 else { return nil }
    var length = 0
    for i in start..<start + 4 { length = length << 8 | Int(buffer[i]) }
    if length > StateFrames.bytesMax { throw .tooLong(length) }
    if length < 9 { throw .tooShort }
    guard count >= 4 + length else { return nil }
    let content = buffer[start + 4..<start + 4 + length]
    start += 4 + length
    return content
  }
}

struct StateWriter {
  var bytes: [UInt8] = []

  mutating func begin(_ kind: UInt8, _ id: UInt64) {
    bytes.append(kind)
    u64(id)
  }

  func end(into out: inout [UInt8]) {
    var length = StateWriter()
    length.u32(UInt32(bytes.count))
    out += length.bytes
    out += bytes
  }

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

  mutating func digest(_ digest: StateDigest) {
    u64(digest.a)
    u64(digest.b)
    u64(digest.c)
    u64(digest.d)
  }

  mutating func owner(_ owner: StateRequest.Owner) {
    u64(owner.high)
    u64(owner.low)
  }

  mutating func answer(_ answer: StateRequest.Answer) {
    u16(answer.status)
    u32(UInt32(answer.fields.count))
    bytes += answer.fields
    u32(UInt32(answer.body.count))
    bytes += answer.body
  }
}

private struct StateReader {
  private var at = 0

  mutating func u8(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt8 { UInt8(try number(bytes, 1)) }
  mutating func u16(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt16 { UInt16(try number(bytes, 2)) }
  mutating func u64(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt64 { try number(bytes, 8) }

  /// A length of time: not negative.
  mutating func length(_ bytes: Span<UInt8>) throws(StateFrameError) -> Int64 {
    guard let value = Int64(exactly: try u64(bytes)) else { throw .badValue }
    return value
  }

  mutating func digest(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateDigest {
    StateDigest(try u64(bytes), try u64(bytes), try u64(bytes), try u64(bytes))
  }

  mutating func owner(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest.Owner {
    StateRequest.Owner(high: try u64(bytes), low: try u64(bytes))
  }

  mutating func answer(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest.Answer {
    let status = try u16(bytes)
    guard (200..<600).contains(status) else { throw .badValue }
    return StateRequest.Answer(status: status, fields: try run(bytes), body: try run(bytes))
  }

  func finish(_ bytes: Span<UInt8>) throws(StateFrameError) {
    if at != bytes.count { throw .surplus(bytes.count - at) }
  }

  private mutating func run(_ bytes: Span<UInt8>) throws(StateFrameError) -> [UInt8] {
    let count = Int(try number(bytes, 4))
    guard count <= bytes.count - at else { throw .tooShort }
    var out: [UInt8] = []
    out.reserveCapacity(count)
    for i in at..<at + count { out.append(bytes[i]) }
    at += count
    return out
  }

  private mutating func number(_ bytes: Span<UInt8>, _ count: Int) throws(StateFrameError) -> UInt64 {
    guard count <= bytes.count - at else { throw .tooShort }
    var value: UInt64 = 0
    for i in at..<at + count { value = value << 8 | UInt64(bytes[i]) }
    at += count
    return value
  }
}
