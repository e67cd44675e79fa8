// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirWire

@Suite struct ClientHelloTests {
  // What clients send, as recorded: OpenSSL 3.0.19 (`openssl s_client`), curl 7.88.1 and Python's ssl. Their names, and
  // in `openssl-nameless` none; that with TLS 1.2 wrote its name in capitals.
  static let recorded: [(file: String, name: String?)] = [
    ("openssl-tls13", "openssl.shop.example"), ("openssl-tls12", "old.shop.example"), ("openssl-nameless", nil),
    ("openssl-split", "split.shop.example"), ("curl-h2", "curl.shop.example"), ("python-ssl", "python.shop.example"),
    ("python-tls12-alpn", "python12.shop.example"),
  ]

  static func bytes(_ file: String) throws -> [UInt8] {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return try Array(Data(contentsOf: root.appending(path: "Fuzz/corpus/hello/\(file)")))
  }

  @Test("what clients send is read, wherever it is cut", arguments: recorded)
  func clients(_ file: String, _ name: String?) throws {
    let bytes = try Self.bytes(file)
    #expect(ClientHello.scan(bytes.span) == .complete(name: name.map { Array($0.utf8) }))
    for count in 0..<bytes.count {
      #expect(ClientHello.scan(Array(bytes[..<count]).span) == .needMore, "\(count)")
    }
  }

  @Test("a hello of a client with any byte changed is read or refused, and never waited for", arguments: recorded)
  func changed(_ file: String, _ name: String?) throws {
    let bytes = try Self.bytes(file)
    // Lengths that grow make it wait for more: with 16 KiB behind it there is an answer to everything.
    let padding = [UInt8](repeating: 0, count: ClientHello.bytesMax)
    for at in bytes.indices {
      for value in [0, 1, 0x7f, 0xff] as [UInt8] {
        var changed = bytes
        changed[at] = value
        #expect(ClientHello.scan((changed + padding).span) != .needMore, "\(at) = \(value)")
      }
    }
  }

  static func sized(_ count: Int, _ bytes: [UInt8]) -> [UInt8] {
    (0..<count).map { UInt8(bytes.count >> (8 * (count - 1 - $0)) & 255) } + bytes
  }

  static func sni(_ name: [UInt8]) -> [UInt8] { [0, 0] + sized(2, sized(2, [0] + sized(2, name))) }

  static func hello(_ extensions: [UInt8]?) -> [UInt8] {
    let start: [UInt8] =
      [3, 3] + Array(repeating: 7, count: 32) + sized(1, [1, 2]) + sized(2, [0x13, 1]) + sized(1, [0])
    return [1] + sized(3, start + (extensions.map { sized(2, $0) } ?? []))
  }

  static func record(_ bytes: [UInt8]) -> [UInt8] { [22, 3, 1] + sized(2, bytes) }

  static let other: [UInt8] = [0, 43] + sized(2, [2, 3, 4])
  static let good = record(hello(other + sni(Array("A.Example".utf8)) + [0, 10, 0, 0]))

  @Test("the name, in lower case, and no other bytes; every prefix wants more")
  func name() {
    #expect(ClientHello.scan(Self.good.span) == .complete(name: Array("a.example".utf8)))
    for count in 0..<Self.good.count {
      #expect(ClientHello.scan(Array(Self.good[..<count]).span) == .needMore, "\(count)")
    }
    #expect(ClientHello.scan((Self.good + [1, 2, 3]).span) == .complete(name: Array("a.example".utf8)))
    #expect(ClientHello.scan(Self.record(Self.hello(nil)).span) == .complete(name: nil))
    #expect(ClientHello.scan(Self.record(Self.hello(Self.other)).span) == .complete(name: nil))
  }

  @Test("a hello that is split over records is the same hello", arguments: [1, 2, 3, 4, 5, 50])
  func split(_ size: Int) {
    let whole = Self.hello(Self.sni(Array("a.example".utf8)))
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: whole.count, by: size) {
      bytes += Self.record(Array(whole[start..<min(start + size, whole.count)]))
    }
    #expect(ClientHello.scan(bytes.span) == .complete(name: Array("a.example".utf8)))
    for count in 0..<bytes.count {
      #expect(ClientHello.scan(Array(bytes[..<count]).span) == .needMore, "\(count)")
    }
  }

  @Test("a hello that never ends is given up at 16 KiB, in one record or in many")
  func endless() {
    let start: [UInt8] = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]
    #expect(ClientHello.scan(start.span) == .needMore)
    #expect(
      ClientHello.scan((start + [UInt8](repeating: 7, count: ClientHello.bytesMax)).span) != .needMore)
    let many = [UInt8]((0..<8000).flatMap { _ in [22, 3, 1, 0, 1, 1] as [UInt8] })
    #expect(ClientHello.scan(many.span) == .refused(.tooLong))
  }

  static let wrong: [([UInt8], ClientHello.Mistake)] = [
    (Array("GET / HTTP/1.1\r\n".utf8), .record), ([21, 3, 1, 0, 2, 1, 0], .record), ([22, 2], .record),
    ([22, 3, 1, 0, 0], .record), ([22, 3, 1, 0x40, 1], .record), (record([2, 0, 0, 1, 0]), .hello),
    (record([1, 1, 0, 0]), .tooLong),
    (record(hello(sni(Array("a".utf8)) + sni(Array("b".utf8)))), .name), (record(hello(sni([]))), .name),
    (record(hello(sni(Array("a b".utf8)))), .name), (record(hello(sni(Array("a.".utf8)))), .name),
    (record(hello(sni(Array(".a".utf8)))), .name), (record(hello(sni([UInt8](repeating: 0x61, count: 256)))), .name),
    (record(hello([0, 0, 0, 5, 0, 3, 1, 0, 0])), .name), (record(hello([0, 0, 0, 9, 0, 0])), .hello),
    (record([1, 0, 0, 1, 3]), .hello),
  ]

  @Test("what is no hello is refused", arguments: wrong)
  func refuses(_ bytes: [UInt8], _ mistake: ClientHello.Mistake) {
    #expect(ClientHello.scan(bytes.span) == .refused(mistake))
  }
}
