// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// What of a request keeps it at one instance, on real sockets.
@Suite("affinity") struct AffinityTests {
  private func backends(_ count: Int) throws -> [Backend] {
    try (0..<count).map { name in
      try Backend(answering: { head, _, _ in
        head.hasPrefix("GET /fails") ? Backend.status(500) : Backend.ok("\(name)")
      })
    }
  }

  /// A setup in which nothing is given up because the machine is busy with other tests.
  private func patient() -> Setup {
    var setup = Setup()
    setup.call.timeout = .seconds(240)
    setup.call.connect = .seconds(100)
    setup.call.breaks = false
    return setup
  }

  private func keyed(_ key: AffinityKey, _ affinity: Balancer.Affinity = .ring) -> Setup {
    var setup = patient()
    setup.call.balance.affinity = affinity
    setup.configure = { $0.affinities = [key] }
    return setup
  }

  @Test("requests with the same header go to the same instance", arguments: [Balancer.Affinity.ring, .maglev])
  func header(affinity: Balancer.Affinity) async throws {
    let backends = try backends(4)
    try await withProxy(to: backends.map(\.port), keyed(.header(Array("x-user".utf8)), affinity)) { server, port in
      var homes: [String] = []
      for user in 0..<24 {
        let wire = try Wire(port: port)
        let home = try wire.get("/", "X-User: user-\(user)\r\n").text
        homes.append(home)
        for _ in 0..<3 { #expect(try wire.get("/\(user)", "x-user: user-\(user)\r\n").text == home) }
      }
      #expect(Set(homes).count == 4)
      // Without the field, or with two of them, there is no key, and the default balancer chooses.
      let wire = try Wire(port: port)
      var others: Set<String> = []
      for _ in 0..<60 { others.insert(try wire.get("/", "X-User: a\r\nX-User: b\r\n").text) }
      for _ in 0..<60 { others.insert(try wire.get("/").text) }
      #expect(others.count > 1)
    }
  }

  @Test("cookie, query and path are keys as well")
  func others() async throws {
    let backends = try backends(4)
    for (key, text) in [
      (AffinityKey.cookie(Array("who".utf8)), "GET / HTTP/1.1\r\nHost: test.example\r\nCookie: a=b; who=WHO\r\n\r\n"),
      (.query(Array("who".utf8)), "GET /?a=b&who=WHO HTTP/1.1\r\nHost: test.example\r\n\r\n"),
      (.path, "GET /items/WHO?now HTTP/1.1\r\nHost: test.example\r\n\r\n"),
    ] as [(AffinityKey, String)] {
      try await withProxy(to: backends.map(\.port), keyed(key)) { _, port in
        let wire = try Wire(port: port)
        var homes: Set<String> = []
        for who in 0..<24 {
          let request = text.replacing("WHO", with: "\(who)")
          let home = try wire.ask(request).text
          homes.insert(home)
          #expect(try wire.ask(request).text == home)
        }
        #expect(homes.count == 4, "\(key)")
      }
    }
  }

  @Test("a key whose instance refuses goes to its next one, and is answered")
  func refuses() async throws {
    let backends = try backends(3)
    // Port 1 is nobody's here; one that was given back could be another test's server by now.
    try await withProxy(to: backends.map(\.port) + [1], keyed(.header(Array("x-user".utf8)))) { _, port in
      let wire = try Wire(port: port)
      for user in 0..<24 { #expect(try wire.get("/", "X-User: user-\(user)\r\n").status == 200) }
    }
  }

  // MARK: - Cookies

  private func sticky(_ names: [String], away: StickyCookie.Away = .move) -> Setup {
    var setup = patient()
    setup.configure = { configuration in
      var settings = StickyCookie.Settings()
      settings.away = away
      configuration.plan.services[0].members.isSticky = true
      configuration.stickies = [
        StickyRule(
          name: "weir-at-shop",
          cookie: StickyCookie(settings, hash: KeyedHash(secret: 1, 2), service: "shop", names: names))
      ]
    }
    return setup
  }

  private func given(_ answer: Answer) -> String? {
    answer["set-cookie"].flatMap { $0.split(separator: ";").first.map(String.init) }
  }

  @Test("a client gets a cookie once, and with it the same instance")
  func cookies() async throws {
    let backends = try backends(4)
    try await withProxy(to: backends.map(\.port), sticky(["a", "b", "c", "d"])) { _, port in
      var codes: Set<String> = []
      for _ in 0..<30 {
        let wire = try Wire(port: port)
        let first = try wire.get("/")
        let cookie = try #require(given(first))
        #expect(first["set-cookie"]?.hasSuffix("; Path=/; HttpOnly; SameSite=Lax") == true)
        codes.insert(cookie)
        for _ in 0..<3 {
          let again = try wire.get("/", "Cookie: x=y; \(cookie)\r\n")
          #expect(again.text == first.text && again["set-cookie"] == nil)
        }
      }
      #expect(codes.count > 1 && codes.count <= 4)
      // What fails is nothing to stay with.
      #expect(given(try Wire(port: port).get("/fails")) == nil)
      // A code that somebody made up is none.
      let wire = try Wire(port: port)
      let made = try wire.get("/", "Cookie: weir-at-shop=0123456789abcdef\r\n")
      #expect(given(made) != nil)
    }
  }

  @Test(
    "a client whose instance is out of use moves for good, or borrows", arguments: [StickyCookie.Away.move, .borrow])
  func away(away: StickyCookie.Away) async throws {
    let backends = try backends(2)
    try await withProxy(to: backends.map(\.port), sticky(["a", "b"], away: away)) { server, port in
      let wire = try Wire(port: port)
      let first = try wire.get("/")
      let cookie = try #require(given(first))
      await server.setUp(false, service: 0, instance: Int(first.text) ?? -1)
      try await eventually("another instance answers") {
        try wire.get("/", "Cookie: \(cookie)\r\n").text != first.text
      }
      let moved = try wire.get("/", "Cookie: \(cookie)\r\n")
      #expect((given(moved) == nil) == (away == .borrow))
      if let other = given(moved) {
        let after = try wire.get("/", "Cookie: \(other)\r\n")
        #expect(other != cookie && after.text == moved.text && after["set-cookie"] == nil)
      }
      await server.setUp(true, service: 0, instance: Int(first.text) ?? -1)
      try await eventually("its own answers again") {
        try wire.get("/", "Cookie: \(cookie)\r\n").text == first.text
      }
    }
  }

  @Test("who is taken out of use keeps the clients that it has, and gets no others")
  func drain() async throws {
    let backends = try backends(2)
    try await withProxy(to: backends.map(\.port), sticky(["a", "b"])) { server, port in
      let wire = try Wire(port: port)
      let first = try wire.get("/")
      let cookie = try #require(given(first))
      let instance = Int(first.text) ?? -1
      #expect(await server.drain(service: 0, instance: instance, true))
      #expect(await !server.drain(service: 0, instance: 1 - instance, true))
      try await eventually("others go elsewhere") { try wire.get("/").text != first.text }
      for _ in 0..<20 {
        #expect(try wire.get("/").text != first.text)
        #expect(try wire.get("/", "Cookie: \(cookie)\r\n").text == first.text)
      }
    }
  }
}
