// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirMessaging
import WeirWire

/// Where an outgoing webhook may go: by its text, and by what its name means.
@Suite struct OutgoingGuardTests {
  static func address(_ text: String) throws -> WireAddress {
    let bytes = Array(text.utf8)
    let span = bytes.span
    let found = WireAddress.address(span, 0..<span.count)
    return try #require(found, "\(text)")
  }

  /// Each network's first and last address, and its neighbours outside.
  static let kinds: [(String, AddressKind)] = [
    ("0.0.0.0", .unspecified), ("0.255.255.255", .unspecified), ("1.0.0.0", .global), ("1.1.1.1", .global),
    ("9.255.255.255", .global), ("10.0.0.0", .private), ("10.255.255.255", .private), ("11.0.0.0", .global),
    ("100.63.255.255", .global), ("100.64.0.0", .shared), ("100.127.255.255", .shared), ("100.128.0.0", .global),
    ("100.100.100.200", .metadata),
    ("126.255.255.255", .global), ("127.0.0.0", .loopback), ("127.0.0.1", .loopback), ("127.255.255.255", .loopback),
    ("128.0.0.0", .global),
    ("168.63.129.15", .global), ("168.63.129.16", .metadata),
    ("169.253.255.255", .global), ("169.254.0.0", .linkLocal), ("169.254.169.254", .metadata),
    ("169.254.170.2", .metadata), ("169.254.255.255", .linkLocal), ("169.255.0.0", .global),
    ("172.15.255.255", .global), ("172.16.0.0", .private), ("172.31.255.255", .private), ("172.32.0.0", .global),
    ("191.255.255.255", .global), ("192.0.0.0", .reserved), ("192.0.0.192", .metadata), ("192.0.0.255", .reserved),
    ("192.0.1.0", .global), ("192.0.2.0", .documentation), ("192.0.2.255", .documentation), ("192.0.3.0", .global),
    ("192.88.98.255", .global), ("192.88.99.1", .reserved), ("192.88.100.0", .global),
    ("192.167.255.255", .global), ("192.168.0.0", .private), ("192.168.255.255", .private), ("192.169.0.0", .global),
    ("198.17.255.255", .global), ("198.18.0.0", .benchmarking), ("198.19.255.255", .benchmarking),
    ("198.20.0.0", .global), ("198.51.99.255", .global), ("198.51.100.0", .documentation),
    ("198.51.101.0", .global), ("203.0.112.255", .global), ("203.0.113.7", .documentation), ("203.0.114.0", .global),
    ("223.255.255.255", .global), ("224.0.0.0", .multicast), ("239.255.255.255", .multicast), ("240.0.0.0", .reserved),
    ("255.255.255.255", .reserved), ("8.8.8.8", .global), ("93.184.216.34", .global),
    // IPv6.
    ("::", .unspecified), ("::1", .loopback), ("::2", .reserved), ("::7f00:1", .reserved), ("::8.8.8.8", .reserved),
    ("::ffff:127.0.0.1", .loopback), ("::ffff:10.1.2.3", .private), ("::ffff:169.254.169.254", .metadata),
    ("::ffff:8.8.8.8", .global), ("::ffff:0:127.0.0.1", .reserved),
    ("64:ff9b::127.0.0.1", .loopback), ("64:ff9b::a00:1", .private), ("64:ff9b::a9fe:a9fe", .metadata),
    ("64:ff9b::8.8.8.8", .global), ("64:ff9b:1::10.0.0.1", .reserved), ("64:ff9b:0:0:1::1", .reserved),
    ("100::1", .reserved), ("100:0:0:1::1", .reserved),
    ("1fff:ffff::1", .reserved), ("2001::1", .reserved), ("2001:0:4136:e378:8000:63bf:3fff:fdd2", .reserved),
    ("2001:2::1", .reserved), ("2001:20::1", .reserved), ("2001:1ff:ffff::1", .reserved), ("2001:200::1", .global),
    ("2001:db7:ffff::1", .global), ("2001:db8::1", .documentation), ("2001:db8:ffff::1", .documentation),
    ("2001:db9::1", .global), ("2001:4860:4860::8888", .global), ("2606:4700:4700::1111", .global),
    ("2002:7f00:1::1", .loopback), ("2002:a00:1::1", .private), ("2002:a9fe:a9fe::1", .metadata),
    ("2002:808:808::1", .global), ("2003::1", .global),
    ("2a00:1450::5efe:7f00:1", .loopback), ("2a00:1450::200:5efe:a00:1", .private),
    ("2a00:1450::5efe:808:808", .global),
    ("3ffe:ffff::1", .global), ("3fff::1", .documentation), ("3fff:fff::1", .documentation), ("3fff:1000::1", .global),
    ("4000::1", .reserved), ("5f00::1", .reserved), ("fbff::1", .reserved),
    ("fc00::1", .private), ("fd12:3456::1", .private), ("fdff:ffff::1", .private), ("fd00:ec2::254", .metadata),
    ("fd20:ce::254", .metadata), ("fd00:c1::a9fe:a9fe", .metadata), ("fe00::1", .reserved),
    ("fe80::1", .linkLocal), ("febf::1", .linkLocal), ("fec0::1", .private), ("feff::1", .private),
    ("ff00::1", .multicast), ("ff02::1", .multicast), ("ffff::1", .multicast),
  ]

  @Test("what an address is for, at both ends of each network and outside of them")
  func addressKinds() throws {
    for (text, kind) in Self.kinds {
      let found = AddressKind(of: try Self.address(text))
      #expect(found == kind, "\(text): \(found)")
    }
    #expect(Self.kinds.count >= 110)
    for kind in AddressKind.allCases { #expect(Self.kinds.contains { $0.1 == kind }) }
  }

  // Every form in which an address can be written or carried is refused where the plain one is.
  @Test("no form of an address that is not global is connected to", arguments: Self.kinds.map(\.0))
  func chosen(_ text: String) throws {
    let address = try Self.address(text)
    let guardian = OutgoingGuard()
    let target = try guardian.target("https://partner.example.com/hook")
    let choice = guardian.choose(target, resolved: [address])
    guard AddressKind(of: address) == .global else {
      #expect(choice == .refuse(.address("partner.example.com", AddressKind(of: address))))
      return
    }
    var expected = address.unmapped
    expected.port = 443
    #expect(choice == .connect([expected]))
  }

  @Test(
    "addresses that may be asked for, and what is made of them",
    arguments: [
      ("https://partner.example.com", "partner.example.com", 443, "/", "partner.example.com"),
      ("https://partner.example.com/", "partner.example.com", 443, "/", "partner.example.com"),
      (
        "HTTPS://Partner.Example.COM/Hook?a=b&c=%20", "partner.example.com", 443, "/Hook?a=b&c=%20",
        "partner.example.com"
      ),
      ("https://partner.example.com.:443/hook", "partner.example.com", 443, "/hook", "partner.example.com"),
      ("https://partner.example.com:8443?a=b", "partner.example.com", 8443, "/?a=b", "partner.example.com:8443"),
      ("https://xn--bcher-kva.example.com/", "xn--bcher-kva.example.com", 443, "/", "xn--bcher-kva.example.com"),
      ("https://a_b.example.com/", "a_b.example.com", 443, "/", "a_b.example.com"),
      ("https://8.8.8.8/hook", "8.8.8.8", 443, "/hook", "8.8.8.8"),
      ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443, "/", "[2606:4700::1111]:8443"),
    ] as [(String, String, UInt16, String, String)])
  func targets(_ text: String, host: String, port: UInt16, path: String, authority: String) throws {
    var settings = OutgoingGuard.Settings()
    settings.ports = [443, 8443]
    let target = try OutgoingGuard(settings).target(text)
    #expect(target.isTLS && target.host == host && target.port == port && target.path == path)
    #expect(target.authority == authority)
  }

  private static func refusal(_ text: String, _ settings: OutgoingGuard.Settings = .init()) -> OutgoingGuard.Refusal? {
    do throws(OutgoingGuard.Refusal) {
      _ = try OutgoingGuard(settings).target(text)
      return nil
    } catch { return error }
  }

  @Test(
    "what is not a plain address of the internet is refused by its text",
    arguments: [
      "", "https", "https:", "https:/a.example.com", "https://", "https:///hook", "//a.example.com/", "a.example.com",
      "http://a.example.com/", "ftp://a.example.com/", "file:///etc/passwd", "gopher://a.example.com/", "javascript:1",
      "unix:/run/docker.sock", "https+unix://a.example.com",
      "https://user@a.example.com/", "https://user:secret@a.example.com/", "https://a.example.com@10.0.0.1/",
      "https://8.8.8.8@a.example.com/",
      "https://a.example.com:80/", "https://a.example.com:22/", "https://a.example.com:6379/",
      "https://a.example.com:0/", "https://a.example.com:/", "https://a.example.com:443443/",
      "https://a.example.com:0443/", "https://a.example.com:+443/", "https://a.example.com:443:443/",
      "https://a.example.com:65979/",
      "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/",
      "https://localhost.localdomain/", "https://printer.local/", "https://metadata.google.internal/",
      "https://metadata/",
      "https://intranet/", "https://router.lan/", "https://nas.home.arpa/", "https://x.onion/", "https://x.corp/",
      "https://127.0.0.1/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/",
      "https://0x7f.1/", "https://0x7f.0x0.0x0.0x1/", "https://0177.0.0.1/", "https://017700000001/",
      "https://127.0.0.01/", "https://127.0.0.1./", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://0/",
      "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://192.168.1.1/", "https://0.0.0.0/",
      "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
      "https://[fe80::1]/",
      "https://[fe80::1%25eth0]/", "https://[fd00:ec2::254]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
      "https://[::1/", "https://::1/", "https://[::1]x/", "https://[127.0.0.1]/", "https://[v1.a]/", "https://[]/",
      "https://a.example.com\\@127.0.0.1/", "https://a.example.com\\.b.example.com/", "https://a.example.com /",
      " https://a.example.com/", "https://a.example.com/\n", "https://a.example.com/\r\nHost: x",
      "https://a.example.com/\0",
      "https://a.example.com/#frag", "https://a.example.com/%", "https://a.example.com/%zz", "https://a%2eexample.com/",
      "https://%6c%6f%63%61%6c%68%6f%73%74/", "https://a..example.com/", "https://.example.com/",
      "https://-a.example.com/", "https://a-.example.com/", "https://ä.example.com/", "https://a。example。com/",
      "https://①②⑦.⓪.⓪.①/", "https://ｌocalhost/", "https://a.example.com/ü", "https://a.example.com,b.example.com/",
      "https://a.example.com;b/", "https://$(id).example.com/", "https://a.example.com/<x>",
      "https://a.example.com/{x}",
      "https://\(String(repeating: "a", count: 64)).example.com/",
      "https://\(String(repeating: "a.", count: 130))example.com/",
      "https://a.example.com/\(String(repeating: "a", count: 2048))",
    ])
  func refused(_ text: String) throws {
    let refusal = try #require(Self.refusal(text), "\(text) was let through")
    #expect(!refusal.sentence.isEmpty && !refusal.sentence.contains("\n"))
  }

  @Test("the sentence says what it is about")
  func sentences() {
    #expect(Self.refusal("http://a.example.com/") == .scheme("http"))
    #expect(Self.refusal("https://a:b@a.example.com/") == .userInfo)
    #expect(
      Self.refusal("https://a.example.com:25/")?.sentence == "port 25 is not sent to; use 443, or let `ports` name it")
    #expect(Self.refusal("https://10.0.0.1/")?.sentence == "10.0.0.1 is a private address")
    #expect(Self.refusal("https://[::1]/")?.sentence == "::1 is a loopback address")
    #expect(Self.refusal("https://a.local/")?.sentence == "a.local is a name of the own network")
  }

  // A name that means a good and a bad address: only the good one is connected to. Checked addresses are what is
  // connected to, so a name that means something else a moment later changes nothing.
  @Test("of several addresses only those that may be are connected to")
  func rebinding() throws {
    let guardian = OutgoingGuard()
    let target = try guardian.target("https://a.example.com/")
    let good = try Self.address("8.8.8.8")
    let six = try Self.address("2606:4700::1111")
    let bad = try Self.address("127.0.0.1")
    guard case .connect(let found) = guardian.choose(target, resolved: [bad, good, six, bad, good]) else {
      Issue.record("nothing was chosen")
      return
    }
    #expect(found.map(\.low) == [good.low, six.low])
    #expect(found.allSatisfy { $0.port == 443 })
    #expect(guardian.choose(target, resolved: [bad]) == .refuse(.address("a.example.com", .loopback)))
    #expect(guardian.choose(target, resolved: []) == .refuse(.nothingResolved("a.example.com")))
    // An address in the text is its own answer, whatever a resolver says.
    let literal = try guardian.target("https://8.8.8.8/")
    guard case .connect(let own) = guardian.choose(literal, resolved: [bad]) else {
      Issue.record("a good address was refused")
      return
    }
    #expect(own.map(\.ipv4) == [0x0808_0808])
  }

  @Test("networks that are allowed are connected to, in plain form only; their neighbours are not")
  func allowed() throws {
    var settings = OutgoingGuard.Settings()
    settings.allowsPlain = true
    settings.ports = [443, 8080]
    settings.allow = try ["127.0.0.1", "10.1.0.0/16", "fd00::/8"].map { try #require(AddressNetwork($0)) }
    #expect(Self.refusal("http://127.0.0.1:8080/", settings) == nil)
    #expect(Self.refusal("http://localhost:8080/", settings) == nil)
    #expect(Self.refusal("http://mailer:8080/", settings) == nil)
    #expect(Self.refusal("http://[::ffff:10.1.2.3]:8080/", settings) == nil)
    #expect(Self.refusal("http://[fd12::1]:8080/", settings) == nil)
    #expect(Self.refusal("http://127.0.0.2:8080/", settings) != nil)
    #expect(Self.refusal("http://10.2.0.0:8080/", settings) != nil)
    #expect(Self.refusal("http://[64:ff9b::10.1.2.3]:8080/", settings) != nil)
    #expect(Self.refusal("http://[fe80::1]:8080/", settings) != nil)
    #expect(Self.refusal("http://10.1.2.3/", settings) == .port(80))
    let local = try OutgoingGuard(settings).target("http://localhost:8080/")
    #expect(
      OutgoingGuard(settings).choose(local, resolved: [try Self.address("::1")])
        == .refuse(.address("localhost", .loopback)))
  }

  @Test(
    "networks as text",
    arguments: [
      ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.1.2.3/8", "10.9.9.9", true),
      ("0.0.0.0/0", "203.0.113.1", true), ("0.0.0.0/0", "::1", false), ("::/0", "fe80::1", true),
      ("::/0", "10.0.0.1", false),
      ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("192.0.2.0/31", "192.0.2.1", true),
      ("fd00::/8", "fdff::1", true), ("fd00::/8", "fc00::1", false), ("2001:db8::/64", "2001:db8::ffff:1", true),
      ("2001:db8::/64", "2001:db8:0:1::1", false), ("2001:db8::/65", "2001:db8::8000:0:0:1", false),
      ("2001:db8::1/128", "2001:db8::1", true), ("2001:db8::1/127", "2001:db8::2", false),
    ] as [(String, String, Bool)])
  func networks(_ network: String, _ address: String, _ isIn: Bool) throws {
    #expect(try #require(AddressNetwork(network)).contains(try Self.address(address)) == isIn)
  }

  @Test(
    "what is no network",
    arguments: [
      "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/8/8", "a/8", "::1/ 1",
    ])
  func noNetworks(_ text: String) { #expect(AddressNetwork(text) == nil) }
}
