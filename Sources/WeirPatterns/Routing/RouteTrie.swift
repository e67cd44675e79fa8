// SPDX-License-Identifier: Apache-2.0

/// Finds the route of a request by host, path, method and conditions, at a cost that does not grow with the number of routes.
///
/// Source: the radix tree of routers (httprouter, Julienne 2013) with parts instead of bytes as steps, and all children
/// of all nodes in one hash table (Morris, 1968; here with linear probing).
///
///     host ──▶ tree ──part──▶ node ──part──▶ node ──▶ routes that end here, routes that take the rest
///                 │             ├ literal child: one probe of the table with (node, hash of the part)
///                 └ no match:   ├ `*` child
///                   next host   └ `**`
///
/// What is most specific wins, see ``RoutePattern``; the search goes literal, `*`, end, `**`, and comes back if a
/// branch ends in nothing. A step back is only possible where a literal and a `*` stand side by side, so a path of k
/// parts visits at most the nodes whose own patterns agree with it so far: with patterns as people write them one or
/// two more than k.
///
/// **Conditions** on headers, cookies and the query are asked for only where a route has them: ``lookUp(host:path:method:)``
/// answers at once for all other paths, and else says which subjects matter; the caller reads them and asks again.
/// The routes of one path that differ by conditions only are asked in turn, a few nanoseconds each.
///
/// **What it expects**: the path as in the request line without its query, valid (RFC 3986), beginning with `/`; **dot
/// segments already refused** by who scanned it, in plain or escaped form (`/%2e%2e/`), for a route would be chosen by
/// one path and answered by another. Empty parts (`//`) match only `**`. The host as in the `Host` field: upper case, a
/// port and one trailing dot do no harm. `*` and authority forms match nothing.
///
/// ## Invariants
/// 1. The answer is that of asking all patterns in the order of ``RoutePattern/isMoreSpecific(than:)``.
/// 2. Escapes of unreserved characters change nothing; no other byte is decoded.
/// 3. `lookUp` and then `match` with what was read is the same as `match` with all there is to read.
/// 4. `methodNotAllowed` only if some route takes host and path, and none takes the method; `allowed` is all they take.
/// 5. Matching allocates nothing and writes nothing.
public struct RouteTrie: Sendable, Equatable {
  public enum Match: Sendable, Equatable {
    /// The index that was given to `add`.
    case route(Int)
    /// Routes take this host and path, but only these methods.
    case methodNotAllowed(allowed: MethodBits)
    case none
  }

  /// What is known from host, path and method alone.
  public enum LookUp: Sendable, Equatable {
    case found(Match)
    /// Read these, then ask ``RouteTrie/match(host:path:method:readings:)``.
    case reads(RouteReadings.Subjects)
  }

  /// A route that was left out, and why.
  public struct Refusal: Sendable, Equatable {
    public var route: Int
    public var mistake: RoutePattern.Mistake
  }

  /// Two routes that no rule tells apart; the first one wins until the file is mended.
  public struct Tie: Sendable, Equatable {
    public var first: Int
    public var second: Int

    public init(first: Int, second: Int) {
      self.first = first
      self.second = second
    }
  }

  /// Collects patterns.
  public struct Builder: Sendable {
    /// The routes that tie with one added before.
    public private(set) var ties: [Tie] = []
    /// The routes whose conditions no longer fit in.
    public private(set) var refused: [Refusal] = []
    private var added: [Entry] = []
    private var conditions = RouteConditions()

    public init() {}

    /// Adds a pattern for a route.
    ///
    /// One route may have several; the same place twice for two routes is a tie.
    public mutating func add(_ pattern: RoutePattern, route: Int) {
      for other in added where other.route != route && pattern.ties(with: other.pattern) {
        ties.append(Tie(first: other.route, second: route))
      }
      var tests: [RouteConditions.Test] = []
      for condition in pattern.conditions {
        do throws(RoutePattern.Mistake) { tests.append(try conditions.add(condition)) } catch {
          refused.append(Refusal(route: route, mistake: error))
          return
        }
      }
      added.append(Entry(pattern: pattern, route: route, tests: tests))
    }

    /// Adds a pattern as the file writes it.
    public mutating func add(
      path: String, host: String? = nil, methods: MethodBits = [], conditions: [RouteCondition] = [], route: Int
    ) throws(RoutePattern.Mistake) {
      add(try RoutePattern(path: path, host: host, methods: methods, conditions: conditions), route: route)
    }

    public func build() -> RouteTrie { RouteTrie(added, conditions) }
  }

  struct Node: Sendable, Equatable, BitwiseCopyable {
    /// The child for `*`, or −1.
    var star: Int32 = -1
    /// `leaves` that end here, then those that take the rest.
    var leavesStart: Int32 = 0
    var endCount: Int32 = 0
    var restCount: Int32 = 0
    /// Has any literal child: else hashing the next part can be spared.
    var hasLiterals = false
  }

  /// A route at a node; those with methods stand before the one without.
  struct Leaf: Sendable, Equatable, BitwiseCopyable {
    var methods: MethodBits
    var testsCount: UInt16
    var testsStart: Int32
    var route: Int32
  }

  /// A route as it was added.
  struct Entry: Sendable {
    var pattern: RoutePattern
    var route: Int
    var tests: [RouteConditions.Test]
  }

  /// What a search collects on its way.
  struct Walk {
    var allowed = MethodBits()
    /// Nothing has been read yet: routes with conditions are passed over, and what they ask for is noted.
    var isLookUp: Bool
    /// Of routes that take the method, and of those that do not.
    var forRoute: UInt32 = 0
    var forAllowed: UInt32 = 0
    var readings: RouteReadings
  }

  /// A literal child in the hash table; `child == −1` is a free place.
  struct Edge: Sendable, Equatable, BitwiseCopyable {
    var hash: UInt64 = 0
    var parent: Int32 = -1
    var child: Int32 = -1
    var textStart: Int32 = 0
    var textCount: Int32 = 0
  }

  /// A tree for a host, in a hash table by name; `root == −1` is a free place.
  struct HostTree: Sendable, Equatable, BitwiseCopyable {
    var hash: UInt64 = 0
    var textStart: Int32 = 0
    var textCount: Int32 = 0
    var root: Int32 = -1
    /// The place of the next less specific host that takes the same names, −1: the tree of any host.
    var wider: Int32 = -1
    var isUnder = false
  }

  struct Listed: Sendable, Equatable {
    var pattern: RoutePattern
    var route: Int
  }

  var nodes: [Node] = [Node()]
  var leaves: [Leaf] = []
  var tests: [RouteConditions.Test] = []
  var conditions = RouteConditions()
  var edges: [Edge] = [Edge()]
  var hosts: [HostTree] = []
  var text: [UInt8] = []
  /// All patterns, most specific first: for questions that are not asked per request.
  var listed: [Listed] = []

  // MARK: Questions

  /// The route of a request, or what has to be read of it first; see the type for what is expected of the bytes.
  ///
  /// `method` is exactly one.
  public func lookUp(host: Span<UInt8>, path: Span<UInt8>, method: MethodBits) -> LookUp {
    var walk = Walk(isLookUp: true, readings: RouteReadings())
    let found = match(host, path, method, &walk)
    if case .route = found {
      return walk.forRoute == 0 ? .found(found) : .reads(RouteReadings.Subjects(bits: walk.forRoute))
    }
    let wanted = walk.forRoute | walk.forAllowed
    return wanted == 0 ? .found(found) : .reads(RouteReadings.Subjects(bits: wanted))
  }

  /// The route of a request of which this was read; with nothing read, of one without query and fields.
  public func match(
    host: Span<UInt8>, path: Span<UInt8>, method: MethodBits, readings: RouteReadings = RouteReadings()
  ) -> Match {
    var walk = Walk(isLookUp: false, readings: readings)
    return match(host, path, method, &walk)
  }

  /// The same for strings; allocates, so it is for tools and tests.
  public func match(
    host: String, path: String, method: MethodBits, query: String = "", fields: [(name: String, value: String)] = []
  ) -> Match {
    let (host, path, query) = (Array(host.utf8), Array(path.utf8), Array(query.utf8))
    switch lookUp(host: host.span, path: path.span, method: method) {
    case .found(let match): return match
    case .reads(let wanted):
      var readings = RouteReadings()
      read(query: query.span, wanted, into: &readings)
      for field in fields {
        let (name, value) = (Array(field.name.utf8), Array(field.value.utf8))
        read(field: name.span, value: value.span, wanted, into: &readings)
      }
      return match(host: host.span, path: path.span, method: method, readings: readings)
    }
  }

  // MARK: Reading for conditions

  /// Whether these are (also) of the query.
  public func asksQuery(_ wanted: RouteReadings.Subjects) -> Bool { conditions.asksQuery(wanted) }

  /// Whether these are (also) of header fields.
  public func asksFields(_ wanted: RouteReadings.Subjects) -> Bool { conditions.asksFields(wanted) }

  /// Reads the query, without its `?`; once a request.
  public func read(query: Span<UInt8>, _ wanted: RouteReadings.Subjects, into readings: inout RouteReadings) {
    conditions.read(query: query, wanted, into: &readings)
  }

  /// Reads a field line; to be called for each, once.
  public func read(
    field: Span<UInt8>, value: Span<UInt8>, _ wanted: RouteReadings.Subjects, into readings: inout RouteReadings
  ) {
    conditions.read(field: field, value: value, wanted, into: &readings)
  }

  /// The routes that requests of a template can reach, most specific first: whoever removes the first (or misses it by
  /// its method) lands on the second.
  ///
  /// A plain path is a template without wildcards.
  public func candidates(
    path: String, host: String? = nil, methods: MethodBits = []
  ) throws(RoutePattern.Mistake) -> [Int] {
    candidates(try RoutePattern(path: path, host: host, methods: methods))
  }

  public func candidates(_ template: RoutePattern) -> [Int] {
    var routes: [Int] = []
    for entry in listed where entry.pattern.overlaps(template) && !routes.contains(entry.route) {
      routes.append(entry.route)
    }
    return routes
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    var childCount = 0
    for edge in edges where edge.child >= 0 {
      childCount += 1
      if Int(edge.child) >= nodes.count || Int(edge.parent) >= nodes.count {
        return "an edge leads nowhere"
      }
      if edge.child <= edge.parent {
        return "a child comes before its parent: there may be a circle"
      }
    }
    for node in nodes where node.star >= 0 { childCount += 1 }
    let rootCount = 1 + hosts.count { $0.root >= 0 }
    if childCount + rootCount != nodes.count {
      return "\(nodes.count - rootCount) nodes have \(childCount) ways in"
    }
    var leafCount = 0
    for node in nodes { leafCount += Int(node.endCount + node.restCount) }
    if leafCount != leaves.count || leafCount != listed.count {
      return "\(leafCount) of \(listed.count) routes are held"
    }
    return nil
  }
}
