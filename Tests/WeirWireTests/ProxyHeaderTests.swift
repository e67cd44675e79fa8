// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

func read(_ bytes: [UInt8]) -> (ProxyHeader.Outcome, ProxyHeader) {
  var header = ProxyHeader()
  let outcome = header.scan(bytes.span)
  return (outcome, header)
}

func text(_ address: WireAddress) -> String {
  var out = HeadBuffer()
  out.append(address: address)
  return text(out) + " \(address.port)"
}

@Suite struct ProxyHeaderTests {
  static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

  // The examples of the text, §2.1, and the edges of each word.
  static let goodLines: [(String, String, String)] = [
    ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 65535", "255.255.255.255 65535"),
    ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1 56324", "192.168.0.11 443"),
    (
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"
    ),
    ("PROXY TCP6 2001:db8::1 ::1 0 1\r\n", "2001:db8::1 0", "::1 1"),
    ("PROXY TCP6 ::ffff:10.0.0.1 :: 5 6\r\n", "10.0.0.1 5", ":: 6"),
  ]

  @Test("reads version 1", arguments: goodLines)
  func line(_ text: String, _ source: String, _ destination: String) {
    let bytes = Array(text.utf8)
    let (outcome, header) = read(bytes + [0x47])
    #expect(outcome == .complete)
    #expect(header.length == bytes.count)
    #expect(header.version == 1)
    #expect(!header.isLocal)
    #expect(WeirWireTests.text(header.source) == source)
    #expect(WeirWireTests.text(header.destination) == destination)
    for count in 0..<bytes.count { #expect(read(Array(bytes.prefix(count))).0 == .needMore) }
  }

  @Test("an unknown source keeps the real one", arguments: ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff:: what ever\r\n"])
  func unknown(_ text: String) {
    let (outcome, header) = read(Array(text.utf8))
    #expect(outcome == .complete)
    #expect(header.isLocal)
    #expect(header.length == text.utf8.count)
  }

  static let badLines: [(String, ProxyHeader.Mistake)] = [
    ("GET / HTTP/1.1\r\n", ProxyHeader.Mistake.signature), ("PROXX", .signature), ("proxy TCP4", .signature),
    ("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", .line), ("PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", .line),
    ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", .line), ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", .line),
    ("PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", .line), ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", .line),
    ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", .line), ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rX", .line),
    ("PROXY TCP4 1.1.1.1\t1.1.1.1 1 1\r\n", .line), ("PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", .address),
    ("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", .address), ("PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", .address),
    ("PROXY TCP4 1.1.1.1.1 1.1.1.1 1 1\r\n", .address), ("PROXY TCP4 ::1 ::1 1 1\r\n", .address),
    ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", .address), ("PROXY TCP6 1::2::3 ::1 1 1\r\n", .address),
    ("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 1\r\n", .address), ("PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", .address),
    ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", .address), ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", .address),
    ("PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n", .address),
    ("PROXY UNKNOWN " + String(repeating: "a", count: 92) + "\r\n", .tooLong),
  ]

  @Test("refuses what is no line of version 1", arguments: badLines)
  func badLine(_ text: String, _ mistake: ProxyHeader.Mistake) {
    #expect(read(Array(text.utf8)).0 == .refused(mistake))
  }

  // A line of 107 bytes is the longest (§2.1).
  @Test func longestLine() {
    let text = "PROXY UNKNOWN " + String(repeating: "a", count: 91) + "\r\n"
    #expect(text.utf8.count == 107)
    #expect(read(Array(text.utf8)).0 == .complete)
  }

  @Test func binaryIPv4() {
    let rest: [UInt8] = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 0x01, 0xbb]
    let bytes = Self.signature + rest
    let (outcome, header) = read(bytes + rest)
    #expect(outcome == .complete)
    #expect(header.length == 28)
    #expect(text(header.source) == "192.0.2.1 56324")
    #expect(text(header.destination) == "198.51.100.2 443")
    for count in 0..<bytes.count { #expect(read(Array(bytes.prefix(count))).0 == .needMore) }
  }

  @Test func binaryIPv6AndNamedParts() {
    let parts: [[UInt8]] = [
      Self.signature, [0x21, 0x21, 0, 53], [0x20, 1, 0xd, 0xb8], [UInt8](repeating: 0, count: 11), [1],
      [UInt8](repeating: 0, count: 15), [2], [0, 80, 1, 0xbb], [0x02, 0, 3], Array("a.b".utf8), [0x01, 0, 2],
      Array("h2".utf8), [0x04, 0, 3, 9, 9, 9],
    ]
    let bytes = parts.flatMap(\.self)
    let (outcome, header) = read(bytes)
    #expect(outcome == .complete)
    #expect(text(header.source) == "2001:db8::1 80")
    #expect(text(header.destination) == "::2 443")
    #expect(String(decoding: bytes[header.authority.range], as: UTF8.self) == "a.b")
    #expect(String(decoding: bytes[header.alpn.range], as: UTF8.self) == "h2")
    #expect(!header.isChecked)
  }

  // Health checks of HAProxy (§2.2): any family, nothing of it counts.
  @Test(
    "a connection of the proxy itself",
    arguments: [
      [0x20, 0x00, 0, 0], [0x20, 0x31, 0, 2, 1, 2], [0x21, 0x00, 0, 0],
      [0x20, 0x11, 0, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2],
    ] as [[UInt8]])
  func local(_ rest: [UInt8]) {
    let (outcome, header) = read(Self.signature + rest)
    #expect(outcome == .complete)
    #expect(header.isLocal)
    #expect(header.source == WireAddress(ipv4: 0, port: 0))
    #expect(header.length == 12 + rest.count)
  }

  static let four: [UInt8] = [1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 0, 2]

  static let badBinaries: [([[UInt8]], ProxyHeader.Mistake)] = [
    ([[0x11, 0x11, 0, 12], four], ProxyHeader.Mistake.command), ([[0x31, 0x11, 0, 12], four], .command),
    ([[0x22, 0x11, 0, 12], four], .command), ([[0x21, 0x12, 0, 12], four], .family),
    ([[0x21, 0x31, 0, 12], four], .family), ([[0x21, 0x51, 0, 12], four], .family),
    ([[0x21, 0x11, 0, 11], four], .address), ([[0x21, 0x21, 0, 12], four], .address),
    ([[0x21, 0x11, 0, 14], four, [1, 0]], .tlv), ([[0x21, 0x11, 0, 16], four, [9, 0, 2, 1]], .tlv),
    ([[0x21, 0x11, 0, 20], four, [2, 0, 1, 65, 2, 0, 1, 65]], .tlv), ([[0x21, 0x11, 0, 15], four, [2, 0, 0]], .tlv),
    ([[0x21, 0x11, 0, 16], four, [2, 0, 1, 10]], .tlv), ([[0x21, 0x11, 0, 16], four, [3, 0, 1, 65]], .tlv),
    ([[0x21, 0x11, 0, 19], four, [3, 0, 4, 0, 0, 0, 0]], .checksum), ([[0x21, 0x11, 0x10, 0], four], .tooLong),
  ]

  @Test("refuses what is no header of version 2", arguments: badBinaries)
  func badBinary(_ rest: [[UInt8]], _ mistake: ProxyHeader.Mistake) {
    #expect(read(Self.signature + rest.flatMap(\.self)).0 == .refused(mistake))
  }

  @Test func aWrongSignatureIsSeenAtItsByte() {
    for place in 1..<12 {
      var bytes = Self.signature
      bytes[place] ^= 0x20
      #expect(read(Array(bytes.prefix(place + 1))).0 == .refused(.signature))
      #expect(read(Array(bytes.prefix(place))).0 == .needMore)
    }
  }

  /// What is written is read back, the checksum included; every changed byte behind the addresses is noticed.
  @Test func writesWhatItReads() {
    var random = SeededRandom(seed: 3, stream: "proxy")
    for _ in 0..<300 {
      func address() -> WireAddress {
        let port = UInt16(random.index(below: 65_536))
        if random.chance(0.5) { return WireAddress(ipv4: UInt32(truncatingIfNeeded: random.next()), port: port) }
        let mask: UInt64 = random.chance(0.3) ? 0xffff_0000_0000_ffff : .max
        return WireAddress(high: random.next() & mask, low: random.next() & mask, port: port, isIPv6: true)
      }
      let source = address()
      let destination = address()
      var out = HeadBuffer()
      out.appendProxyLine(source: source, destination: destination)
      var (outcome, header) = read(Array(out.storage.prefix(out.count)))
      #expect(outcome == .complete)
      #expect(header.source == source)
      #expect(header.destination == destination)
      out.clear()
      out.appendProxyBinary(source: source, destination: destination, authority: Array("shop.example".utf8).span)
      let bytes = Array(out.storage.prefix(out.count))
      (outcome, header) = read(bytes)
      #expect(outcome == .complete)
      #expect(header.isChecked)
      #expect(header.source == source)
      #expect(header.destination == destination)
      #expect(header.length == bytes.count)
      #expect(String(decoding: bytes[header.authority.range], as: UTF8.self) == "shop.example")
      var changed = bytes
      changed[16 + random.index(below: source.isIPv6 || destination.isIPv6 ? 36 : 12)] ^= 1
      #expect(read(changed).0 == .refused(.checksum))
    }
    var out = HeadBuffer()
    out.appendProxyBinary(source: nil, destination: nil)
    #expect(read(Array(out.storage.prefix(out.count))).1.isLocal)
    out.clear()
    out.appendProxyLine(source: nil, destination: nil)
    #expect(WeirWireTests.text(out) == "PROXY UNKNOWN\r\n")
  }
}

@Suite struct WireAddressTests {
  // RFC 5952 §4: shortest form, lower case, the longest and first run of zeros.
  @Test(
    "one text for one address",
    arguments: [
      ("2001:0DB8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("::", "::"),
      ("0:0:0:0:0:0:0:1", "::1"), ("1:0:0:0:0:0:0:0", "1::"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
      ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("10.0.0.255", "10.0.0.255"),
    ])
  func canonical(_ given: String, _ written: String) {
    let bytes = Array(given.utf8)
    let address = WireAddress.address(bytes.span, 0..<bytes.count)
    #expect(address.map(text) == written + " 0")
  }

  @Test(
    "what is no address",
    arguments: [
      "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:", ":1:2:3:4:5:6:7", "1::2:3:4:5:6:7:8", "12345::", "g::",
      "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "::%1", "1.2.3.04", "1.2.3.4 ", "0x1.2.3.4",
      "1.2.3",
    ])
  func none(_ given: String) {
    let bytes = Array(given.utf8)
    let address = WireAddress.address(bytes.span, 0..<bytes.count)
    #expect(address == nil)
  }

  @Test(
    "what hops write",
    arguments: [
      ("1.2.3.4", "1.2.3.4 0"), ("1.2.3.4:80", "1.2.3.4 80"), ("[::1]", "::1 0"),
      ("[2001:db8::2]:443", "2001:db8::2 443"),
      ("::2", "::2 0"), ("unknown", nil), ("_hidden", nil), ("1.2.3.4:", nil), ("[::1", nil), ("[1.2.3.4]", nil),
      ("1.2.3.4:080", nil), ("[::1]80", nil),
    ])
  func nodes(_ given: String, _ expected: String?) {
    let bytes = Array(given.utf8)
    let node = WireAddress.node(bytes.span, 0..<bytes.count)
    #expect(node.map(text) == expected)
  }
}
