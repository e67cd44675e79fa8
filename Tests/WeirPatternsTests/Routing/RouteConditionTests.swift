// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct RouteConditionTests {
  typealias Condition = RouteCondition

  private func get(
    _ trie: RouteTrie, query: String = "", _ fields: [(name: String, value: String)] = [], path: String = "/a"
  ) -> RouteTrie.Match {
    trie.match(host: "x", path: path, method: .get, query: query, fields: fields)
  }

  private func trie(_ conditions: [[Condition]]) throws -> RouteTrie {
    var builder = RouteTrie.Builder()
    for (route, list) in conditions.enumerated() { try builder.add(path: "/a", conditions: list, route: route) }
    #expect(builder.refused.isEmpty)
    let trie = builder.build()
    #expect(trie.violation() == nil)
    return trie
  }

  // MARK: What a value reads as

  @Test(
    "headers: name without case, value as it is, trimmed; twice equals nothing but is present",
    arguments: [
      ([("X-Tier", "gold")], 0), ([("x-tier", " gold\t")], 0), ([("x-tier", "Gold")], 1), ([("x-tier", "")], 1),
      ([("x-tiers", "gold")], 2), ([], 2), ([("x-tier", "gold"), ("x-tier", "gold")], 1),
      ([("other", "gold"), ("x-tier", "gold")], 0),
    ] as [([(String, String)], Int)])
  func headers(fields: [(String, String)], expected: Int) throws {
    let trie = try trie([
      [Condition(.header("X-Tier"), .equals("gold"))], [Condition(.header("x-tier"), .present)],
      [Condition(.header("x-tier"), .absent)],
    ])
    #expect(get(trie, fields.map { (name: $0.0, value: $0.1) }) == .route(expected))
  }

  @Test(
    "prefix and suffix; the longer wins; equals before both",
    arguments: [("2.1.7", 1), ("2.0", 0), ("2.1-beta", 1), ("3-beta", 2), ("2.1.9", 3), ("2", nil), ("beta", nil)]
      as [(String, Int?)])
  func parts(value: String, expected: Int?) throws {
    let trie = try trie([
      [Condition(.header("v"), .prefix("2."))], [Condition(.header("v"), .prefix("2.1"))],
      [Condition(.header("v"), .suffix("-beta"))], [Condition(.header("v"), .equals("2.1.9"))],
    ])
    // 2.1-beta: both hold; -beta has five bytes and 2.1 three.
    let wanted = value == "2.1-beta" ? 2 : expected
    #expect(get(trie, [("v", value)]) == (wanted.map { .route($0) } ?? .none))
  }

  @Test(
    "the query: decoded, first = divides, twice equals nothing",
    arguments: [
      ("v=2", 0), ("a=b&v=2&c", 0), ("v=%32", 0), ("%76=2", 0), ("v=2&v=2", 1), ("v=2=2", 1), ("v", 1), ("v=", 1),
      ("w=2", nil), ("", nil), ("=2", nil), ("name=a+b%26", 2), ("name=a%20b%26", 2), ("name=a%2", nil), ("&&v=2&", 0),
      ("V=2", nil),
    ] as [(String, Int?)])
  func query(query: String, expected: Int?) throws {
    let trie = try trie([
      [Condition(.query("v"), .equals("2"))], [Condition(.query("v"), .present)],
      [Condition(.query("name"), .equals("a b&"))],
    ])
    #expect(get(trie, query: query) == (expected.map { .route($0) } ?? .none))
  }

  @Test(
    "cookies: in any place, with and without quotes; a name within a value is none",
    arguments: [
      ("beta=1", 0), ("a=b; beta=1", 0), ("beta=\"1\";c=d", 0), ("a=beta=1", nil), ("xbeta=1", nil), ("beta=2", 1),
      ("beta=1; beta=1", 1), ("", nil), ("beta", nil), (";;beta=1;", 0),
    ] as [(String, Int?)])
  func cookies(value: String, expected: Int?) throws {
    let trie = try trie([[Condition(.cookie("beta"), .equals("1"))], [Condition(.cookie("beta"), .present)]])
    #expect(get(trie, [("Cookie", value)]) == (expected.map { .route($0) } ?? .none))
  }

  @Test(
    "a version by media type or its parameter",
    arguments: [
      ("application/json; version=2", 0), ("Application/JSON;Version=\"2\"; q=1", 0),
      ("text/html, application/json;version=2", 0), ("application/json;version=3, a/b;version=2", nil),
      ("application/vnd.shop.v2+json", 1), ("text/html;q=0.5, Application/VND.shop.v2+json;q=0.1", 1),
      ("application/json", nil), ("a/b;x=\",version=2\"", nil), ("a/b;x=\"\\\";version=2\";version=2", 0), ("", nil),
      ("version=2", nil),
    ] as [(String, Int?)])
  func versions(accept: String, expected: Int?) throws {
    let trie = try trie([
      [Condition(.parameter(header: "Accept", name: "version"), .equals("2"))],
      [Condition(.mediaType(header: "accept"), .equals("application/vnd.shop.v2+JSON"))],
    ])
    #expect(get(trie, [("accept", accept)]) == (expected.map { .route($0) } ?? .none))
  }

  // MARK: Order

  @Test("more header conditions, then more of the query, then more equals; methods come before all of them")
  func order() throws {
    let (a, b) = (Condition(.header("a"), .present), Condition(.header("b"), .present))
    let (p, q) = (Condition(.query("p"), .present), Condition(.query("q"), .present))
    var builder = RouteTrie.Builder()
    try builder.add(path: "/a", route: 0)
    try builder.add(path: "/a", conditions: [p, q], route: 1)
    try builder.add(path: "/a", conditions: [a], route: 2)
    try builder.add(path: "/a", conditions: [a, p], route: 3)
    try builder.add(path: "/a", conditions: [a, b], route: 4)
    try builder.add(path: "/a", conditions: [Condition(.header("a"), .equals("1"))], route: 5)
    try builder.add(path: "/a", methods: [.post], route: 6)
    try builder.add(path: "/a", methods: [.post], conditions: [q], route: 7)
    let trie = builder.build()
    #expect(builder.ties.isEmpty)
    #expect(get(trie) == .route(0))
    #expect(get(trie, query: "p&q") == .route(1))
    #expect(get(trie, query: "p&q", [("a", "2")]) == .route(3))
    #expect(get(trie, [("a", "2")]) == .route(2))
    #expect(get(trie, [("a", "1")]) == .route(5))
    #expect(get(trie, query: "p&q", [("a", "1"), ("b", "")]) == .route(4))
    #expect(
      trie.match(host: "", path: "/a", method: .post, fields: [(name: "a", value: ""), (name: "b", value: "")])
        == .route(6))
    #expect(trie.match(host: "", path: "/a", method: .post, query: "q") == .route(7))
  }

  @Test("a path of fewer literals is asked only when no condition of the better path holds")
  func falls() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/a/b", host: "x", conditions: [Condition(.cookie("k"), .present)], route: 0)
    try builder.add(path: "/a/*", methods: [.get], conditions: [Condition(.query("q"), .present)], route: 1)
    try builder.add(path: "/a/**", methods: [.put], route: 2)
    let trie = builder.build()
    #expect(get(trie, query: "q", [("cookie", "k=1")], path: "/a/b") == .route(0))
    #expect(get(trie, query: "q", path: "/a/b") == .route(1))
    #expect(get(trie, path: "/a/b") == .methodNotAllowed(allowed: [.put]))
    // 405 tells of routes whose conditions hold only.
    #expect(
      trie.match(host: "", path: "/a/c", method: .post, query: "q") == .methodNotAllowed(allowed: [.get, .head, .put]))
  }

  @Test("a look-up answers at once where no condition can matter, and names what can")
  func lookUps() throws {
    var builder = RouteTrie.Builder()
    try builder.add(path: "/plain", route: 0)
    try builder.add(path: "/a", route: 1)
    try builder.add(path: "/a", conditions: [Condition(.query("q"), .present)], route: 2)
    try builder.add(path: "/a", methods: [.put], conditions: [Condition(.header("h"), .present)], route: 3)
    let trie = builder.build()
    let (plain, a) = (Array("/plain".utf8), Array("/a".utf8))
    #expect(trie.lookUp(host: a.span, path: plain.span, method: .get) == .found(.route(0)))
    guard case .reads(let wanted) = trie.lookUp(host: a.span, path: a.span, method: .get) else {
      return PatternSeeds.fail("the query matters")
    }
    #expect(trie.asksQuery(wanted) && !trie.asksFields(wanted) && !wanted.isEmpty)
    guard case .reads(let more) = trie.lookUp(host: a.span, path: a.span, method: .put) else {
      return PatternSeeds.fail("the header matters")
    }
    #expect(trie.asksQuery(more) && trie.asksFields(more))
  }

  // MARK: Ties, mistakes, limits

  @Test("ties: what one request can match both, with the same rank")
  func ties() throws {
    func tie(_ a: [Condition], _ b: [Condition]) throws -> Bool {
      try RoutePattern(path: "/a", conditions: a).ties(with: RoutePattern(path: "/a", conditions: b))
    }
    let (one, two) = (Condition(.header("v"), .equals("1")), Condition(.header("v"), .equals("2")))
    let other = Condition(.header("w"), .equals("1"))
    #expect(try tie([one], [one]) && tie([one, other], [other, one]) && tie([one, one], [one]))
    #expect(try !tie([one], [two]) && tie([one], [other]) && !tie([one], []))
    #expect(try !tie([Condition(.header("v"), .present)], [Condition(.header("v"), .absent)]))
    #expect(try !tie([Condition(.header("v"), .prefix("ab"))], [Condition(.header("v"), .prefix("cd"))]))
    #expect(try tie([Condition(.header("v"), .prefix("ab"))], [Condition(.header("v"), .suffix("ba"))]))
    #expect(
      try tie(
        [Condition(.mediaType(header: "accept"), .equals("a/b"))],
        [Condition(.mediaType(header: "accept"), .equals("c/d"))]))
  }

  @Test(
    "conditions that cannot be used",
    arguments: [
      ([Condition(.header(""), .present)], "needs the name"),
      ([Condition(.query("q"), .prefix(""))], "empty beginning"),
      ([Condition(.mediaType(header: "accept"), .present)], "only be asked to equal"),
      ([Condition(.cookie("c"), .equals("1")), Condition(.cookie("c"), .equals("2"))], "“c” cannot both hold"),
      ([Condition(.header("h"), .absent), Condition(.header("H"), .present)], "“h” cannot both hold"),
      ((0..<33).map { Condition(.header("h\($0)"), .present) }, "more than 32"),
    ])
  func mistakes(conditions: [Condition], words: String) {
    do {
      _ = try RoutePattern(path: "/", conditions: conditions)
      Issue.record("\(conditions) were taken")
    } catch {
      #expect(error.description.contains(words), "\(error)")
    }
  }

  @Test("what no longer fits is refused by name, and the rest is served")
  func limits() throws {
    var builder = RouteTrie.Builder()
    for route in 0..<40 {
      try builder.add(path: "/\(route)", conditions: [Condition(.header("h\(route)"), .present)], route: route)
    }
    #expect(builder.refused.map(\.route) == Array(32..<40) && builder.refused[0].mistake == .tooManySubjects)
    #expect(get(builder.build(), [("h31", "")], path: "/31") == .route(31))
    var texts = RouteTrie.Builder()
    for route in 0..<70 {
      try texts.add(path: "/a", conditions: [Condition(.header("h"), .prefix("p\(route)."))], route: route)
    }
    #expect(texts.refused.count == 6 && texts.refused[0].mistake == .tooManyTexts)
    #expect(get(texts.build(), [("h", "p63.x")]) == .route(63))
  }

  @Test("a thousand routes of one path that differ by one value")
  func thousand() throws {
    var builder = RouteTrie.Builder()
    for route in 0..<1_000 {
      try builder.add(path: "/a", conditions: [Condition(.header("t"), .equals("tenant-\(route)"))], route: route)
    }
    let trie = builder.build()
    #expect(builder.ties.isEmpty)
    for route in [0, 1, 500, 999] { #expect(get(trie, [("t", "tenant-\(route)")]) == .route(route)) }
    #expect(get(trie, [("t", "tenant-1000")]) == .none)
  }

  // MARK: Walk

  /// A condition, evaluated in the plainest way.
  private func holds(_ condition: Condition, _ values: [Condition.Subject: [String]]) -> Bool {
    let values = values[condition.subject] ?? []
    switch condition.test {
    case .present: return !values.isEmpty
    case .absent: return values.isEmpty
    case .equals(let text): return values == [text]
    case .prefix(let text): return values.count == 1 && values[0].hasPrefix(text)
    case .suffix(let text): return values.count == 1 && values[0].hasSuffix(text)
    }
  }

  private func rank(_ conditions: [Condition]) -> [Int] {
    let query = conditions.count { if case .query = $0.subject { true } else { false } }
    var (equals, bytes) = (0, 0)
    for condition in conditions {
      switch condition.test {
      case .equals: equals += 1
      case .prefix(let text), .suffix(let text): bytes += text.utf8.count
      case .present, .absent: break
      }
    }
    return [conditions.count - query, query, equals, bytes]
  }

  @Test("walk: the same route as by asking all in order", arguments: PatternSeeds.seeds(300))
  func walk(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let subjects: [Condition.Subject] = [.header("a"), .header("b"), .cookie("c"), .query("q"), .query("r")]
    let texts = ["1", "12", "2", "21"]
    func draw<T>(_ list: [T]) -> T { list[random.index(below: list.count)] }
    let paths = ["/a", "/*", "/**"]
    var lines: [(path: Int, methods: MethodBits, conditions: [Condition], route: Int)] = []
    var builder = RouteTrie.Builder()
    for route in 0..<(1 + random.index(below: 30)) {
      var conditions: [Condition] = []
      for _ in 0..<random.index(below: 4) {
        let test: Condition.Test =
          switch random.index(below: 6) {
          case 0: .present
          case 1: .absent
          case 2: .prefix(draw(texts))
          case 3: .suffix(draw(texts))
          default: .equals(draw(texts))
          }
        conditions.append(Condition(draw(subjects), test))
      }
      let (path, methods) = (random.index(below: 3), draw([[], .get, [.get, .post]] as [MethodBits]))
      guard let pattern = try? RoutePattern(path: paths[path], methods: methods, conditions: conditions) else {
        continue
      }
      builder.add(pattern, route: route)
      lines.append((path, methods, pattern.conditions, route))
    }
    let trie = builder.build()
    if let violation = trie.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed): \(violation)") }
    for step in 0..<200 {
      var values: [Condition.Subject: [String]] = [:]
      var fields: [(name: String, value: String)] = []
      var query: [String] = []
      for subject in subjects {
        for _ in 0..<(random.chance(0.4) ? 0 : random.chance(0.9) ? 1 : 2) {
          let value = draw(texts + ["3"])
          values[subject, default: []].append(value)
          switch subject {
          case .header(let name): fields.append((name, value))
          case .cookie(let name): fields.append(("cookie", "z=1; \(name)=\(value)"))
          case .query(let name):
            query.append("\(name)=\(random.chance(0.3) ? value.replacing("1", with: "%31") : value)")
          default: break
          }
        }
      }
      let method = draw([.get, .post, .delete] as [MethodBits])
      let able = lines.filter { line in line.conditions.allSatisfy { holds($0, values) } }
      let best = able.filter { $0.methods.isEmpty || $0.methods.contains(method) }.max { x, y in
        let (a, b) = (
          [-x.path, x.methods.isEmpty ? 0 : 1] + rank(x.conditions),
          [-y.path, y.methods.isEmpty ? 0 : 1] + rank(y.conditions)
        )
        return a == b ? x.route > y.route : a.lexicographicallyPrecedes(b)
      }
      let expected: RouteTrie.Match
      if let best {
        expected = .route(best.route)
      } else if able.isEmpty {
        expected = .none
      } else {
        expected = .methodNotAllowed(
          allowed: able.reduce(MethodBits()) {
            $0.union($1.methods.contains(.get) ? $1.methods.union(.head) : $1.methods)
          })
      }
      let answer = trie.match(
        host: "h", path: "/a", method: method, query: query.joined(separator: "&"), fields: fields)
      if answer != expected {
        return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(answer), not \(expected): \(query) \(fields)")
      }
    }
  }
}
