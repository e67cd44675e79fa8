// SPDX-License-Identifier: Apache-2.0

/// The name that a TLS client asks for (SNI), read from its first flight without answering it.
///
/// Source: RFC 8446 §4.1.2 and §5.1 (the same layout since TLS 1.0), RFC 6066 §3 (`server_name`). Strict: every length must
/// fill what is around it exactly, `server_name` may come once and hold one host name. A hello that is split over records is
/// put together; nothing behind it is looked at.
public enum ClientHello {
  public enum Mistake: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
    /// The first bytes are no TLS handshake record.
    case record
    /// Not a `ClientHello`, or lengths within it that do not fit.
    case hello
    /// `server_name` that is empty, twice, of another type, or no host name.
    case name
    /// More than ``bytesMax``.
    case tooLong
  }

  public enum Outcome: Sendable, Equatable {
    /// In lower case; nil when the client names nobody.
    case complete(name: [UInt8]?)
    case needMore
    case refused(Mistake)
  }

  /// Of the whole flight: hellos with post-quantum key shares have about 2 KiB, and the limit of a record is 16 KiB.
  public static let bytesMax = 16 << 10

  /// Reads from the start; call again with more after `needMore`.
  public static func scan(_ bytes: Span<UInt8>) -> Outcome {
    var hello: [UInt8] = []
    var at = 0
    var wanted = 4
    while hello.count < wanted {
      // Each wrong byte is refused as soon as it shows.
      if at < bytes.count, bytes[at] != 22 { return .refused(.record) }
      if at + 1 < bytes.count, bytes[at + 1] != 3 { return .refused(.record) }
      if bytes.count - at < 5 { return more(bytes) }
      let length = Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
      if length == 0 || length > 16 << 10 { return .refused(.record) }
      at += 5
      let there = min(length, bytes.count - at)
      for i in 0..<there where hello.count < wanted {
        hello.append(bytes[at + i])
        if hello.count == 4 {
          if hello[0] != 1 { return .refused(.hello) }
          wanted = 4 + (Int(hello[1]) << 16 | Int(hello[2]) << 8 | Int(hello[3]))
          if wanted > bytesMax { return .refused(.tooLong) }
          // A flight that comes byte by byte is not copied for each of them.
          if bytes.count < wanted + 5 { return more(bytes) }
        }
      }
      at += there
      if there < length && hello.count < wanted { return more(bytes) }
    }
    var reader = Reader(bytes: hello, at: 4, end: hello.count)
    do throws(Mistake) {
      return .complete(name: try name(&reader))
    } catch { return .refused(error) }
  }

  private static func more(_ bytes: Span<UInt8>) -> Outcome {
    bytes.count >= bytesMax ? .refused(.tooLong) : .needMore
  }

  private struct Reader {
    let bytes: [UInt8]
    var at: Int
    let end: Int

    mutating func number(_ count: Int) throws(Mistake) -> Int {
      if end - at < count { throw .hello }
      var value = 0
      for _ in 0..<count {
        value = value << 8 | Int(bytes[at])
        at += 1
      }
      return value
    }

    /// What stands behind a length of so many bytes.
    mutating func part(_ count: Int) throws(Mistake) -> Reader {
      let length = try number(count)
      if end - at < length { throw .hello }
      defer { at += length }
      return Reader(bytes: bytes, at: at, end: at + length)
    }

    var isEmpty: Bool { at == end }
  }

  private static func name(_ hello: inout Reader) throws(Mistake) -> [UInt8]? {
    // legacy_version, random, session id, cipher suites, compression methods
    if try hello.number(2) < 0x0300 { throw .hello }
    for _ in 0..<32 { _ = try hello.number(1) }
    let session = try hello.part(1)
    if session.end - session.at > 32 { throw .hello }
    let suites = try hello.part(2)
    if suites.isEmpty || (suites.end - suites.at) % 2 != 0 { throw .hello }
    if try hello.part(1).isEmpty { throw .hello }
    // SSL 3.0 and some of TLS 1.0 have no extensions at all.
    if hello.isEmpty { return nil }
    var extensions = try hello.part(2)
    if !hello.isEmpty { throw .hello }
    var found: [UInt8]?
    while !extensions.isEmpty {
      let type = try extensions.number(2)
      var body = try extensions.part(2)
      if type != 0 { continue }
      if found != nil { throw .name }
      found = try serverName(&body)
    }
    return found
  }

  private static func serverName(_ body: inout Reader) throws(Mistake) -> [UInt8] {
    var list = try body.part(2)
    if !body.isEmpty { throw .name }
    if try list.number(1) != 0 { throw .name }
    let host = try list.part(2)
    // One name only: no other type was ever given a meaning, and two of one type are forbidden.
    if !list.isEmpty || host.isEmpty || host.end - host.at > 255 { throw .name }
    var name: [UInt8] = []
    for i in host.at..<host.end {
      let byte = host.bytes[i]
      switch byte {
      case 0x41...0x5a: name.append(byte | 0x20)
      case 0x61...0x7a, 0x30...0x39, 0x2d, 0x2e, 0x5f: name.append(byte)
      default: throw .name
      }
    }
    if name.last == 0x2e || name.first == 0x2e { throw .name }
    return name
  }
}
