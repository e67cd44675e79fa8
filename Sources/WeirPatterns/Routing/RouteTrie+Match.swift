// SPDX-License-Identifier: Apache-2.0

/// The way of a request through the trie: nothing here allocates or writes.
extension RouteTrie {
  func match(_ host: Span<UInt8>, _ path: Span<UInt8>, _ method: MethodBits, _ walk: inout Walk) -> Match {
    if path.isEmpty || path[0] != UInt8(ascii: "/") { return .none }
    if !hosts.isEmpty {
      var tree = hostTree(host)
      while tree >= 0 {
        let route = search(hosts[Int(tree)].root, path, 1, method, &walk)
        if route >= 0 { return .route(Int(route)) }
        tree = hosts[Int(tree)].wider
      }
    }
    let route = search(0, path, 1, method, &walk)
    if route >= 0 { return .route(Int(route)) }
    return walk.allowed.isEmpty ? .none : .methodNotAllowed(allowed: walk.allowed)
  }

  /// The route at or below `node` for the rest of the path, which begins at `start` after a slash (beyond the end when
  /// no part is left), or −1.
  private func search(
    _ node: Int32, _ path: Span<UInt8>, _ start: Int, _ method: MethodBits,
    _ walk: inout Walk
  ) -> Int32 {
    let here = nodes[Int(node)]
    if start > path.count {
      if here.endCount > 0 {
        let route = leaf(here.leavesStart, here.endCount, method, &walk)
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
          let route = search(child, path, end + 1, method, &walk)
          if route >= 0 { return route }
        }
      } else if here.star >= 0 {
        while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
      }
      if here.star >= 0, end > start {
        let route = search(here.star, path, end + 1, method, &walk)
        if route >= 0 { return route }
      }
    }
    return here.restCount > 0
      ? leaf(here.leavesStart + here.endCount, here.restCount, method, &walk) : -1
  }

  /// The route among the leaves at one place that takes the method and whose conditions hold, or −1.
  private func leaf(
    _ start: Int32, _ count: Int32, _ method: MethodBits, _ walk: inout Walk
  ) -> Int32 {
    var forHead: Int32 = -1
    for index in Int(start)..<Int(start + count) {
      let leaf = leaves[index]
      // Those without methods stand last.
      if leaf.methods.isEmpty, forHead >= 0 { return forHead }
      let takes = leaf.methods.isEmpty || !leaf.methods.isDisjoint(with: method)
      // GET without an own HEAD beside it takes HEAD too (RFC 9110 §9.3.2).
      let takesHead = method == .head && leaf.methods.contains(.get)
      if leaf.testsCount > 0, !holds(leaf, takes || takesHead, &walk) { continue }
      if takes { return leaf.route }
      if takesHead, forHead < 0 { forHead = leaf.route }
      walk.allowed.formUnion(leaf.methods.withHead)
    }
    return forHead
  }

  /// Whether a leaf's conditions hold; in a look-up none do, and what they ask for is noted.
  private func holds(_ leaf: Leaf, _ takes: Bool, _ walk: inout Walk) -> Bool {
    for index in Int(leaf.testsStart)..<Int(leaf.testsStart) + Int(leaf.testsCount) {
      if walk.isLookUp {
        let bit: UInt32 = 1 << UInt32(tests[index].subject)
        if takes { walk.forRoute |= bit } else { walk.forAllowed |= bit }
      } else if !tests[index].holds(walk.readings) {
        return false
      }
    }
    return !walk.isLookUp
  }

  func literal(
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

  static func place(_ hash: UInt64, _ node: Int32) -> Int {
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

  func hostPlace(
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
}
