// SPDX-License-Identifier: Apache-2.0

/// Finds the route of a request by host, path and method, at a cost that does not grow with the number of routes.
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
/// **What it expects**: the path as in the request line without its query, valid (RFC 3986), beginning with `/`; **dot
/// segments already refused** by who scanned it, in plain or escaped form (`/%2e%2e/`), for a route would be chosen by
/// one path and answered by another. Empty parts (`//`) match only `**`. The host as in the `Host` field: upper case, a
/// port and one trailing dot do no harm. `*` and authority forms match nothing.
///
/// ## Invariants
/// 1. The answer is that of asking all patterns in the order of ``RoutePattern/isMoreSpecific(than:)``.
/// 2. Escapes of unreserved characters change nothing; no other byte is decoded.
/// 3. `methodNotAllowed` only if some route takes host and path, and none takes the method; `allowed` is all they take.
/// 4. Matching allocates nothing and writes nothing.
public struct RouteTrie: Sendable, Equatable {
  public enum Match: Sendable, Equatable {
    /// The index that was given to `add`.
    case route(Int)
    /// Routes take this host and path, but only these methods.
    case methodNotAllowed(allowed: MethodBits)
    case none
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
    private var added: [(pattern: RoutePattern, route: Int)] = []

    public init() {}

    /// Adds a pattern for a route.
    ///
    /// One route may have several; the same place twice for two routes is a tie.
    public mutating func add(_ pattern: RoutePattern, route: Int) {
      for other in added where other.route != route && pattern.ties(with: other.pattern) {
        ties.append(Tie(first: other.route, second: route))
      }
      added.append((pattern, route))
    }

    /// Adds a pattern as the file writes it.
    public mutating func add(
      path: String, host: String? = nil, methods: MethodBits = [], route: Int
    ) throws(RoutePattern.Mistake) {
      add(try RoutePattern(path: path, host: host, methods: methods), route: route)
    }

    public func build() -> RouteTrie { RouteTrie(added) }
  }

  private struct Node: Sendable, Equatable, BitwiseCopyable {
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
  private struct Leaf: Sendable, Equatable, BitwiseCopyable {
    var methods: MethodBits
    var route: Int32
  }

  /// A literal child in the hash table; `child == −1` is a free place.
  private struct Edge: Sendable, Equatable, BitwiseCopyable {
    var hash: UInt64 = 0
    var parent: Int32 = -1
    var child: Int32 = -1
    var textStart: Int32 = 0
    var textCount: Int32 = 0
  }

  /// A tree for a host, in a hash table by name; `root == −1` is a free place.
  private struct HostTree: Sendable, Equatable, BitwiseCopyable {
    var hash: UInt64 = 0
    var textStart: Int32 = 0
    var textCount: Int32 = 0
    var root: Int32 = -1
    /// The place of the next less specific host that takes the same names, −1: the tree of any host.
    var wider: Int32 = -1
    var isUnder = false
  }

  private struct Listed: Sendable, Equatable {
    var pattern: RoutePattern
    var route: Int
  }

  private var nodes: [Node] = [Node()]
  private var leaves: [Leaf] = []
  private var edges: [Edge] = [Edge()]
  private var hosts: [HostTree] = []
  private var text: [UInt8] = []
  /// All patterns, most specific first: for questions that are not asked per request.
  private var listed: [Listed] = []

  // MARK: Questions

  /// The route of a request; see the type for what is expected of the bytes.
  ///
  /// `method` is exactly one.
  public func match(host: Span<UInt8>, path: Span<UInt8>, method: MethodBits) -> Match {
    if path.isEmpty || path[0] != UInt8(ascii: "/") { return .none }
    var allowed = MethodBits()
    if !hosts.isEmpty {
      var tree = hostTree(host)
      while tree >= 0 {
        let route = search(hosts[Int(tree)].root, path, 1, method, &allowed)
        if route >= 0 { return .route(Int(route)) }
        tree = hosts[Int(tree)].wider
      }
    }
    let route = search(0, path, 1, method, &allowed)
    if route >= 0 { return .route(Int(route)) }
    return allowed.isEmpty ? .none : .methodNotAllowed(allowed: allowed)
  }

  /// The same for strings; allocates, so it is for tools and tests.
  public func match(host: String, path: String, method: MethodBits) -> Match {
    let (host, path) = (Array(host.utf8), Array(path.utf8))
    return match(host: host.span, path: path.span, method: method)
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

  // MARK: Matching

  /// The route at or below `node` for the rest of the path, which begins at `start` after a slash (beyond the end when
  /// no part is left), or −1.
  private func search(
    _ node: Int32, _ path: Span<UInt8>, _ start: Int, _ method: MethodBits,
    _ allowed: inout MethodBits
  ) -> Int32 {
    let here = nodes[Int(node)]
    if start > path.count {
      if here.endCount > 0 {
        let route = leaf(here.leavesStart, here.endCount, method, &allowed)
        if route >= 0 { return route }
      }
    } else {
      var end = start
      var hash = RouteBytes.mix(RouteBytes.seed, UInt8(truncatingIfNeeded: node))
      var isPlain = true
      if here.hasLiterals {
        while end < path.count {
          let byte = path[end]
          if byte == UInt8(ascii: "/") { break }
          if byte == UInt8(ascii: "%") {
            isPlain = false
            let step = RouteBytes.next(path, end)
            hash = RouteBytes.mix(hash, step.byte)
            if step.length == 3, step.byte == UInt8(ascii: "%") {
              hash = RouteBytes.mix(hash, RouteBytes.raised(path[end + 1]))
              hash = RouteBytes.mix(hash, RouteBytes.raised(path[end + 2]))
            }
            end += step.length
          } else {
            hash = RouteBytes.mix(hash, byte)
            end += 1
          }
        }
        let child = literal(node, hash, path, start, end, isPlain)
        if child >= 0 {
          let route = search(child, path, end + 1, method, &allowed)
          if route >= 0 { return route }
        }
      } else if here.star >= 0 {
        while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
      }
      if here.star >= 0, end > start {
        let route = search(here.star, path, end + 1, method, &allowed)
        if route >= 0 { return route }
      }
    }
    return here.restCount > 0
      ? leaf(here.leavesStart + here.endCount, here.restCount, method, &allowed) : -1
  }

  /// The route among the leaves at one place that takes the method, or −1.
  private func leaf(
    _ start: Int32, _ count: Int32, _ method: MethodBits, _ allowed: inout MethodBits
  ) -> Int32 {
    var forHead: Int32 = -1
    for index in Int(start)..<Int(start + count) {
      let leaf = leaves[index]
      if leaf.methods.isEmpty { return forHead >= 0 ? forHead : leaf.route }
      if !leaf.methods.isDisjoint(with: method) { return leaf.route }
      // GET without an own HEAD beside it takes HEAD too (RFC 9110 §9.3.2).
      if method == .head, forHead < 0, leaf.methods.contains(.get) { forHead = leaf.route }
      allowed.formUnion(leaf.methods.withHead)
    }
    return forHead
  }

  private func literal(
    _ node: Int32, _ hash: UInt64, _ path: Span<UInt8>, _ start: Int, _ end: Int, _ isPlain: Bool
  ) -> Int32 {
    let mask = edges.count - 1
    var place = RouteTrie.place(hash, node) & mask
    while edges[place].child >= 0 {
      let edge = edges[place]
      if edge.hash == hash, edge.parent == node, isText(edge, path, start, end, isPlain) {
        return edge.child
      }
      place = (place + 1) & mask
    }
    return -1
  }

  private static func place(_ hash: UInt64, _ node: Int32) -> Int {
    // The low bits of FNV-1a are its weakest; the multiplication brings the high ones down.
    Int(
      truncatingIfNeeded: ((hash ^ UInt64(truncatingIfNeeded: node)) &* 0x9e37_79b9_7f4a_7c15) >> 32
    )
  }

  private func isText(_ edge: Edge, _ path: Span<UInt8>, _ start: Int, _ end: Int, _ isPlain: Bool)
    -> Bool
  {
    var at = Int(edge.textStart)
    let last = at + Int(edge.textCount)
    if isPlain {
      if Int(edge.textCount) != end - start { return false }
      for index in start..<end {
        if text[at] != path[index] { return false }
        at += 1
      }
      return true
    }
    var index = start
    while index < end {
      let step = RouteBytes.next(path, index)
      if at >= last || text[at] != step.byte { return false }
      at += 1
      if step.length == 3, step.byte == UInt8(ascii: "%") {
        if at + 1 >= last || text[at] != RouteBytes.raised(path[index + 1])
          || text[at + 1] != RouteBytes.raised(path[index + 2])
        {
          return false
        }
        at += 2
      }
      index += step.length
    }
    return at == last
  }

  /// The place of the most specific tree that takes this host, or −1.
  private func hostTree(_ host: Span<UInt8>) -> Int32 {
    // Without the port (an IPv6 address keeps its colons, they are in brackets) and one trailing dot.
    var end = host.count
    var index = end - 1
    while index >= 0, host[index] >= UInt8(ascii: "0"), host[index] <= UInt8(ascii: "9") {
      index -= 1
    }
    if index >= 0, host[index] == UInt8(ascii: ":") { end = index }
    if end > 0, host[end - 1] == UInt8(ascii: ".") { end -= 1 }
    // From the right, so that the hash of each suffix is there when its dot is reached.
    var hash = RouteBytes.seed
    var found: Int32 = -1
    index = end - 1
    while index >= 0 {
      let byte = RouteBytes.lowered(host[index])
      if byte == UInt8(ascii: "."), index > 0 {
        let under = hostPlace(hash, host, index + 1, end, isUnder: true)
        if under >= 0 { found = under }
      }
      hash = RouteBytes.mix(hash, byte)
      index -= 1
    }
    let exact = hostPlace(hash, host, 0, end, isUnder: false)
    return exact >= 0 ? exact : found
  }

  private func hostPlace(
    _ hash: UInt64, _ host: Span<UInt8>, _ start: Int, _ end: Int, isUnder: Bool
  ) -> Int32 {
    let mask = hosts.count - 1
    var place = RouteTrie.place(hash, 0) & mask
    while hosts[place].root >= 0 {
      let tree = hosts[place]
      if tree.hash == hash, tree.isUnder == isUnder, Int(tree.textCount) == end - start {
        var same = true
        for offset in 0..<(end - start)
        where text[Int(tree.textStart) + offset] != RouteBytes.lowered(host[start + offset]) {
          same = false
          break
        }
        if same { return Int32(place) }
      }
      place = (place + 1) & mask
    }
    return -1
  }

  // MARK: Building

  private init(_ added: [(pattern: RoutePattern, route: Int)]) {
    // Stable: of a tie the first one added stays first.
    listed = added.enumerated().sorted { a, b in
      if a.element.pattern.isMoreSpecific(than: b.element.pattern) { return true }
      if b.element.pattern.isMoreSpecific(than: a.element.pattern) { return false }
      return a.offset < b.offset
    }.map { Listed(pattern: $0.element.pattern, route: $0.element.route) }
    buildHosts()
    var ends: [[Leaf]] = []
    var rests: [[Leaf]] = []
    var edgeList: [Edge] = []
    growEdges(for: listed.reduce(1) { $0 + $1.pattern.parts.count })
    for entry in listed {
      var node = root(of: entry.pattern.host)
      var takesRest = false
      for part in entry.pattern.parts {
        switch part {
        case .literal(let bytes): node = child(of: node, bytes, &edgeList)
        case .one:
          if nodes[Int(node)].star < 0 {
            nodes[Int(node)].star = Int32(nodes.count)
            nodes.append(Node())
          }
          node = nodes[Int(node)].star
        case .rest: takesRest = true
        }
      }
      while ends.count < nodes.count {
        ends.append([])
        rests.append([])
      }
      // `listed` is sorted, so leaves with methods come before the one without.
      let leaf = Leaf(methods: entry.pattern.methods, route: Int32(entry.route))
      if takesRest { rests[Int(node)].append(leaf) } else { ends[Int(node)].append(leaf) }
    }
    for index in ends.indices {
      nodes[index].leavesStart = Int32(leaves.count)
      nodes[index].endCount = Int32(ends[index].count)
      nodes[index].restCount = Int32(rests[index].count)
      leaves += ends[index]
      leaves += rests[index]
    }
  }

  private mutating func growEdges(for count: Int) {
    // At most half full: a probe looks at 1.5 places on average, 2.5 when nothing is found (Knuth, vol. 3, §6.4).
    var size = 2
    while size < 2 * count { size <<= 1 }
    edges = [Edge](repeating: Edge(), count: size)
  }

  private mutating func child(of node: Int32, _ bytes: [UInt8], _ list: inout [Edge]) -> Int32 {
    var hash = RouteBytes.mix(RouteBytes.seed, UInt8(truncatingIfNeeded: node))
    for byte in bytes { hash = RouteBytes.mix(hash, byte) }
    // Patterns are normalised, so their bytes are compared as they stand.
    let found = literal(node, hash, bytes.span, 0, bytes.count, true)
    if found >= 0 { return found }
    let child = Int32(nodes.count)
    nodes.append(Node())
    nodes[Int(node)].hasLiterals = true
    var place = RouteTrie.place(hash, node) & (edges.count - 1)
    while edges[place].child >= 0 { place = (place + 1) & (edges.count - 1) }
    edges[place] = Edge(
      hash: hash, parent: node, child: child, textStart: Int32(text.count),
      textCount: Int32(bytes.count))
    text += bytes
    return child
  }

  private mutating func buildHosts() {
    var names: [RoutePattern.Host] = []
    for entry in listed where entry.pattern.host != .any && !names.contains(entry.pattern.host) {
      names.append(entry.pattern.host)
    }
    if names.isEmpty { return }
    var size = 2
    while size < 2 * names.count { size <<= 1 }
    hosts = [HostTree](repeating: HostTree(), count: size)
    var placed: [(name: [UInt8], isUnder: Bool, place: Int)] = []
    for name in names {
      let (bytes, isUnder): ([UInt8], Bool) =
        switch name {
        case .exact(let bytes): (bytes, false)
        case .under(let bytes): (bytes, true)
        case .any: ([], false)
        }
      var hash = RouteBytes.seed
      for byte in bytes.reversed() { hash = RouteBytes.mix(hash, byte) }
      var place = RouteTrie.place(hash, 0) & (size - 1)
      while hosts[place].root >= 0 { place = (place + 1) & (size - 1) }
      hosts[place] = HostTree(
        hash: hash, textStart: Int32(text.count), textCount: Int32(bytes.count),
        root: Int32(nodes.count),
        isUnder: isUnder)
      nodes.append(Node())
      text += bytes
      placed.append((bytes, isUnder, place))
    }
    // The next wider one of a name is what `hostTree` finds above it: the longest `*.x` it is under.
    for entry in placed {
      var best = -1
      for other in placed where other.isUnder && RoutePattern.Host.isUnder(entry.name, other.name) {
        if best < 0 || hosts[other.place].textCount > hosts[best].textCount { best = other.place }
      }
      hosts[entry.place].wider = Int32(best)
    }
  }

  private func root(of host: RoutePattern.Host) -> Int32 {
    switch host {
    case .any: return 0
    case .exact(let bytes): return hosts[Int(find(bytes, isUnder: false))].root
    case .under(let bytes): return hosts[Int(find(bytes, isUnder: true))].root
    }
  }

  private func find(_ bytes: [UInt8], isUnder: Bool) -> Int32 {
    var hash = RouteBytes.seed
    for byte in bytes.reversed() { hash = RouteBytes.mix(hash, byte) }
    return hostPlace(hash, bytes.span, 0, bytes.count, isUnder: isUnder)
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
