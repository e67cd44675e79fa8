// SPDX-License-Identifier: Apache-2.0

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
  public static let version: UInt16 = 4
  /// A body of 8 MiB with its fields, the largest answer that is kept, fits.
  public static let bytesMax = 9 << 20
  public static let answerBytesMax = 8 << 20

  public static func append(_ request: StateRequest, id: UInt64, to out: inout [UInt8]) {
    var writer = StateWriter(continuing: &out)
    defer { writer.end(into: &out) }
    if writer.idempotency(request, id) || writer.queues(request, id) || writer.logs(request, id)
      || writer.backup(request, id)
    {
      return
    }
    guard case .hello(let version) = request else { preconditionFailure("a request that no topic writes: \(request)") }
    writer.begin(1, id)
    writer.u16(version)
  }

  public static func append(_ reply: StateReply, id: UInt64, to out: inout [UInt8]) {
    var writer = StateWriter(continuing: &out)
    defer { writer.end(into: &out) }
    if writer.idempotency(reply, id) || writer.queues(reply, id) || writer.logs(reply, id)
      || writer.backup(reply, id)
    {
      return
    }
    switch reply {
    case .welcome(let version):
      writer.begin(128, id)
      writer.u16(version)
    case .failed(let failure):
      writer.begin(137, id)
      writer.u8(failure.rawValue)
    default: preconditionFailure("a reply that no topic writes: \(reply)")
    }
  }

  /// A frame's content as a request.
  public static func request(_ content: Span<UInt8>) throws(StateFrameError) -> (id: UInt64, request: StateRequest) {
    var reader = StateReader()
    let kind = try reader.u8(content)
    let id = try reader.u64(content)
    let request: StateRequest
    if kind == 1 {
      request = .hello(version: try reader.u16(content))
    } else if let read = try reader.idempotencyRequest(kind, content) {
      request = read
    } else if let read = try reader.queueRequest(kind, content) {
      request = read
    } else if let read = try reader.logRequest(kind, content) {
      request = read
    } else if let read = try reader.backupRequest(kind, content) {
      request = read
    } else {
      throw .unknownKind(kind)
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
    if kind == 128 {
      reply = .welcome(version: try reader.u16(content))
    } else if kind == 137 {
      guard let failure = StateReply.Failure(rawValue: try reader.u8(content)) else { throw .badValue }
      reply = .failed(failure)
    } else if let read = try reader.idempotencyReply(kind, content) {
      reply = read
    } else if let read = try reader.queueReply(kind, content) {
      reply = read
    } else if let read = try reader.logReply(kind, content) {
      reply = read
    } else if let read = try reader.backupReply(kind, content) {
      reply = read
    } else {
      throw .unknownKind(kind)
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
