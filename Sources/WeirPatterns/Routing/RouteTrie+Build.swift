// SPDX-License-Identifier: Apache-2.0

/// Making a trie of patterns: once, when a plan is made.
extension RouteTrie {
  init(_ added: [Entry], _ conditions: RouteConditions) {
    self.conditions = conditions
    // Stable: of a tie the first one added stays first.
    let sorted = added.enumerated().sorted { a, b in
      if a.element.pattern.isMoreSpecific(than: b.element.pattern) { return true }
      if b.element.pattern.isMoreSpecific(than: a.element.pattern) { return false }
      return a.offset < b.offset
    }.map(\.element)
    listed = sorted.map { Listed(pattern: $0.pattern, route: $0.route) }
    buildHosts()
    var ends: [[Leaf]] = []
    var rests: [[Leaf]] = []
    var edgeList: [Edge] = []
    growEdges(for: listed.reduce(1) { $0 + $1.pattern.parts.count })
    for entry in sorted {
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
      let leaf = Leaf(
        methods: entry.pattern.methods, testsCount: UInt16(entry.tests.count), testsStart: Int32(tests.count),
        route: Int32(entry.route))
      tests += entry.tests
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
}
