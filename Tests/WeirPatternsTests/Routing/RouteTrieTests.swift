// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct RouteTrieTests {
  private func trie(_ paths: [String]) throws -> RouteTrie {
    var builder = RouteTrie.Builder()
    for (index, path) in paths.enumerated() { try builder.add(path: path, route: index) }
    let trie = builder.build()
    #expect(trie.violation() == nil)
    return trie
  }

  private func get(_ trie: RouteTrie, _ path: String, host: String = "x") -> Int? {
    if case .route(let index) = trie.match(host: host, path: path, method: .get) { return index }
    return nil
  }

  // MARK: Paths

  @Test(
    "which path matches which pattern",
    arguments: [
      ("/", ["/"], ["/a", "//"]), ("/a", ["/a"], ["/", "/a/", "/A", "/ab", "/a/b"]), ("/a/", ["/a/"], ["/a", "/a//"]),
      ("/a/*", ["/a/b", "/a/bb"], ["/a", "/a/", "/a/b/", "/a/b/c", "/b/b"]),
      ("/a/**", ["/a", "/a/", "/a/b", "/a/b/c/", "/a//"], ["/", "/ab", "/b/a"]),
      ("/**", ["/", "/a", "//", "/a/b"], []), ("/*/b", ["/a/b", "/b/b"], ["//b", "/b", "/a/c", "/a/b/"]),
      ("/*/**", ["/a", "/a/", "/a/b"], ["/", "//"]),
    ])
  func path(pattern: String, matching: [String], others: [String]) throws {
    let trie = try trie([pattern])
    for path in matching { #expect(get(trie, path) == 0, "\(path)") }
    for path in others { #expect(get(trie, path) == nil, "\(path)") }
  }

  @Test("the most specific wins: literal, then *, then the end, then **, from the left")
  func specificity() throws {
    let trie = try trie(["/**", "/a/**", "/a/*", "/a/b", "/*/b/c", "/a/*/c", "/a"])
    #expect(get(trie, "/") == 0)
    #expect(get(trie, "/z") == 0)
    #expect(get(trie, "/a") == 6)
    #expect(get(trie, "/a/") == 1)
    #expect(get(trie, "/a/z") == 2)
    #expect(get(trie, "/a/b") == 3)
    #expect(get(trie, "/a/b/c") == 5)
    #expect(get(trie, "/z/b/c") == 4)
    #expect(get(trie, "/a/b/d") == 1)
  }

  // /users/me leads into the literal branch, which ends in nothing for /users/me/posts: the search must come back.
  @Test("a branch that ends in nothing is left again")
  func backtracking() throws {
    let trie = try trie(["/users/me", "/users/*/posts", "/*/me/likes"])
    #expect(get(trie, "/users/me") == 0)
    #expect(get(trie, "/users/me/posts") == 1)
    #expect(get(trie, "/users/me/likes") == 2)
    #expect(get(trie, "/users/me/else") == nil)
  }

  @Test("escapes of unreserved characters are the characters; others stay, whatever the case of their digits")
  func escapes() throws {
    let trie = try trie(["/caf%C3%a9", "/a%2fb", "/%7Euser/*", "/x-y"])
    #expect(get(trie, "/caf%c3%A9") == 0)
    #expect(get(trie, "/c%61f%C3%A9") == 0)
    #expect(get(trie, "/a%2Fb") == 1)
    #expect(get(trie, "/a/b") == nil)
    #expect(get(trie, "/~user/x") == 2)
    #expect(get(trie, "/%7euser/%41") == 2)
    #expect(get(trie, "/x%2Dy") == 3)
    #expect(get(trie, "/x%2") == nil)
    #expect(get(trie, "/x%") == nil)
  }

  @Test("what is not a path matches nothing", arguments: ["", "*", "a", "http://x/", "x:443"])
  func notAPath(target: String) throws {
    let trie = try trie(["/**"])
    #expect(trie.match(host: "x", path: target, method: .options) == .none)
  }

  // MARK: Methods

  @Test("a route with methods beats one without; what none takes is not allowed, with all that are")
  func methods() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/a", methods: [.get], route: 0)
    try builder.add(path: "/a", methods: [.post, .put], route: 1)
    try builder.add(path: "/b", route: 2)
    try builder.add(path: "/b", methods: [.delete], route: 3)
    try builder.add(path: "/*", methods: [.patch], route: 4)
    let trie = builder.build()
    #expect(builder.ties.isEmpty)
    #expect(trie.match(host: "", path: "/a", method: .get) == .route(0))
    #expect(trie.match(host: "", path: "/a", method: .head) == .route(0))
    #expect(trie.match(host: "", path: "/a", method: .put) == .route(1))
    #expect(trie.match(host: "", path: "/a", method: .patch) == .route(4))
    #expect(
      trie.match(host: "", path: "/a", method: .delete)
        == .methodNotAllowed(allowed: [.get, .head, .post, .put, .patch]))
    #expect(trie.match(host: "", path: "/b", method: .other) == .route(2))
    #expect(trie.match(host: "", path: "/b", method: .delete) == .route(3))
    #expect(trie.match(host: "", path: "/c/d", method: .get) == .none)
  }

  @Test("HEAD goes to its own route first, then to GET's, then to the one without methods")
  func head() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/a", route: 0)
    try builder.add(path: "/a", methods: [.get], route: 1)
    #expect(builder.build().match(host: "", path: "/a", method: .head) == .route(1))
    try builder.add(path: "/a", methods: [.head], route: 2)
    #expect(builder.build().match(host: "", path: "/a", method: .head) == .route(2))
    #expect(builder.ties.isEmpty)
  }

  // MARK: Hosts

  @Test("exact before the longest *.x before any; a host whose tree has nothing leaves it to the next")
  func hosts() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/**", route: 0)
    try builder.add(path: "/v1/**", host: "api.example.com", route: 1)
    try builder.add(path: "/v2/**", host: "*.example.com", route: 2)
    try builder.add(path: "/v2/**", host: "*.eu.example.com", route: 3)
    try builder.add(path: "/v1/**", host: "[::1]", route: 4)
    let trie = builder.build()
    #expect(trie.violation() == nil)
    #expect(get(trie, "/v1/x", host: "api.example.com") == 1)
    #expect(get(trie, "/v1/x", host: "API.Example.COM.:8443") == 1)
    #expect(get(trie, "/v2/x", host: "api.example.com") == 2)
    #expect(get(trie, "/v3/x", host: "api.example.com") == 0)
    #expect(get(trie, "/v2/x", host: "a.b.eu.example.com") == 3)
    #expect(get(trie, "/v2/x", host: "eu.example.com") == 2)
    #expect(get(trie, "/v2/x", host: "example.com") == 0)
    #expect(get(trie, "/v2/x", host: "notexample.com") == 0)
    #expect(get(trie, "/v2/x", host: ".example.com") == 0)
    #expect(get(trie, "/v1/x", host: "[::1]:80") == 4)
    #expect(get(trie, "/v1/x", host: "[::1]") == 4)
    #expect(get(trie, "/v1/x", host: "") == 0)
  }

  // MARK: Building

  @Test(
    "patterns that cannot be used, and what is said about them",
    arguments: [
      ("a", "does not begin with /"), ("", "does not begin with /"), ("/a//b", "empty part"),
      ("/**/a", "not the last part"), ("/**/", "not the last part"), ("/a*", "mixes *"), ("/***", "mixes *"),
      ("/{id}", "write * instead of “{id}”"), ("/a/../b", "“..” part"), ("/a/%2E", "“%2E” part"), ("/a?b", "? or #"),
      ("/a#b", "? or #"), ("/%zz", "two hexadecimal digits"), ("/a%2", "two hexadecimal digits"),
      ("/ä", "percent-encode it"), ("/a b", "percent-encode it"),
      (String(repeating: "/a", count: 65), "more than 64 parts"),
    ])
  func badPaths(path: String, words: String) {
    do {
      _ = try RoutePattern(path: path)
      Issue.record("“\(path)” was taken")
    } catch {
      #expect(error.description.contains(words), "\(error)")
    }
  }

  @Test(
    "hosts that cannot be used",
    arguments: ["", ".", "*.", "*.*.x", "a*", "a..b", ".a", "http://x", "x:80", "a b", "[::1", "x/y"])
  func badHosts(host: String) {
    #expect(throws: RoutePattern.Mistake.badHost(host: host)) { try RoutePattern(path: "/", host: host) }
  }

  @Test("ties are reported with both routes; the first one wins")
  func ties() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/a/*", methods: [.get, .post], route: 0)
    try builder.add(path: "/a/*", methods: [.post], route: 1)
    try builder.add(path: "/a/*", methods: [.put], route: 2)
    try builder.add(path: "/a/%2a", route: 3)
    try builder.add(path: "/a/*", host: "x", route: 4)
    try builder.add(path: "/%61/*", methods: [.get], route: 5)
    try builder.add(path: "/a/*", methods: [.get], route: 5)
    #expect(
      builder.ties == [
        RouteTrie.Tie(first: 0, second: 1), RouteTrie.Tie(first: 0, second: 5), RouteTrie.Tie(first: 0, second: 5),
      ])
    #expect(builder.build().match(host: "y", path: "/a/b", method: .post) == .route(0))
  }

  @Test("who removes a route, or misses it by its method, lands on the next candidate")
  func candidates() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/**", route: 0)
    try builder.add(path: "/api/orders/**", methods: [.post], route: 1)
    try builder.add(path: "/api/**", host: "api.example.com", route: 2)
    try builder.add(path: "/api/orders/health", methods: [.get], route: 3)
    try builder.add(path: "/other", route: 4)
    let trie = builder.build()
    #expect(try trie.candidates(path: "/api/orders/**") == [2, 3, 1, 0])
    #expect(try trie.candidates(path: "/api/orders/**", host: "www.example.com", methods: [.post]) == [1, 0])
    #expect(try trie.candidates(path: "/api/orders/7", methods: [.get]) == [2, 0])
    #expect(try trie.candidates(path: "/*", host: "*.example.com") == [2, 4, 0])
  }

  // MARK: Walks against a linear matcher

  /// A pattern as the walk makes it, matched here in the plainest way, over strings.
  private struct Line {
    var host: String?
    var parts: [String]
    var methods: MethodBits
    var route: Int

    func takes(host wanted: String, path: [String]) -> Bool {
      if let host {
        if host.hasPrefix("*.") {
          if !wanted.hasSuffix(host.dropFirst()) || wanted.count < host.count { return false }
        } else if host != wanted {
          return false
        }
      }
      var index = 0
      for part in parts {
        if part == "**" { return true }
        if index >= path.count { return false }
        if part == "*" ? path[index].isEmpty : part != path[index] { return false }
        index += 1
      }
      return index == path.count
    }

    func takes(method: MethodBits) -> Bool {
      methods.isEmpty || methods.contains(method) || (method == .head && methods.contains(.get))
    }

    /// Greater is asked first.
    ///
    /// HEAD's own route comes before GET's.
    func rank(_ method: MethodBits) -> [Int] {
      let hostRank = host.map { $0.hasPrefix("*.") ? $0.count : 1000 } ?? 0
      let partRanks = (0..<9).map { index -> Int in
        if index >= parts.count { return 1 }
        return parts[index] == "**" ? 0 : parts[index] == "*" ? 2 : 3
      }
      return [hostRank] + partRanks + [methods.contains(method) ? 2 : methods.isEmpty ? 0 : 1]
    }
  }

  // A few words, so that patterns overlap; 200 seeds × 400 requests.
  @Test("walk: the same route as by asking all patterns", arguments: PatternSeeds.seeds(200))
  func walk(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let words = ["a", "b", "ab", "c%2Fd"]
    let hosts = ["x.org", "a.x.org", "b.a.x.org", "y.net"]
    let methodChoices: [MethodBits] = [[], [], .get, [.get, .post], .head, .delete]
    var lines: [Line] = []
    var builder = RouteTrie.Builder()
    let count = 1 + random.index(below: seed % 4 == 0 ? 300 : 25)
    for route in 0..<count {
      var parts = (0..<random.index(below: 5)).map { _ in
        random.chance(0.35) ? "*" : words[random.index(below: words.count)]
      }
      switch random.index(below: 4) {
      case 0: parts.append("**")
      case 1: parts.append("")
      default: if parts.isEmpty { parts.append("a") }
      }
      let host: String? =
        random.chance(0.6) ? nil : (random.chance(0.5) ? "*." : "") + hosts[random.index(below: hosts.count)]
      let line = Line(
        host: host, parts: parts, methods: methodChoices[random.index(below: methodChoices.count)], route: route)
      try builder.add(path: "/" + parts.joined(separator: "/"), host: host, methods: line.methods, route: route)
      lines.append(line)
    }
    let trie = builder.build()
    if let violation = trie.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed): \(violation)") }
    for step in 0..<400 {
      let host = (random.chance(0.2) ? "z." : "") + hosts[random.index(below: hosts.count)]
      var path = (0..<1 + random.index(below: 5)).map { _ in words[random.index(below: words.count)] }
      if random.chance(0.2) { path.append("") }
      let method: MethodBits = [.get, .head, .post, .delete, .other][random.index(below: 5)]
      let here = lines.filter { $0.takes(host: host, path: path) }
      let able = here.filter { $0.takes(method: method) }
      let expected: RouteTrie.Match
      if let best = able.max(by: { a, b in
        let (ranks, others) = (a.rank(method), b.rank(method))
        return ranks == others ? a.route > b.route : ranks.lexicographicallyPrecedes(others)
      }) {
        expected = .route(best.route)
      } else if here.isEmpty {
        expected = .none
      } else {
        let allowed = here.reduce(MethodBits()) {
          $0.union($1.methods.contains(.get) ? $1.methods.union(.head) : $1.methods)
        }
        expected = .methodNotAllowed(allowed: allowed)
      }
      // The request may write its characters escaped, and the host in capitals with a port.
      let escaped = path.map { $0.replacing("a", with: random.chance(0.2) ? "%61" : "a") }
      let wire = "/" + escaped.joined(separator: "/")
      let answer = trie.match(host: random.chance(0.3) ? host.uppercased() + ":81" : host, path: wire, method: method)
      if answer != expected {
        return PatternSeeds.fail(
          "WEIR_SEED=\(seed), step \(step): \(host)\(wire) \(method.names): \(answer), not \(expected)")
      }
      // A plain path is a template: its candidates are all the lines that take it.
      let candidates = try trie.candidates(path: "/" + path.joined(separator: "/"), host: host)
      if candidates.sorted() != here.map(\.route) {
        return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): candidates \(candidates), not \(here.map(\.route))")
      }
    }
  }

  // Depth: a tree of {a, *} at each of 10 parts is the worst that backtracking can meet; it must end, and be right.
  @Test("all 1 024 patterns of a and * over ten parts, and a path that none of them ends")
  func worstCase() throws {
    var builder = RouteTrie.Builder()
    for bits in 0..<1024 {
      let parts = (0..<10).map { bits >> $0 & 1 == 0 ? "a" : "*" }
      try builder.add(path: "/" + parts.joined(separator: "/"), route: bits)
    }
    let trie = builder.build()
    #expect(get(trie, "/a/a/a/a/a/a/a/a/a/a") == 0)
    #expect(get(trie, "/b/b/b/b/b/b/b/b/b/b") == 1023)
    #expect(get(trie, "/a/a/a/a/a/a/a/a/a/a/a") == nil)
  }
}
