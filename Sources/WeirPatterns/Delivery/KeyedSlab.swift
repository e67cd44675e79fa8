// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// What a ``KeyedSlab`` holds: it knows its key, and lends a field to the hash's chains.
protocol Keyed: Sendable, Equatable, BitwiseCopyable {
  associatedtype Key: Equatable, BitwiseCopyable
  var key: Key { get }
  /// The next node of the same bucket; while the place is free, the next free place.
  var chain: Int32 { get set }
  /// Well mixed: its lowest bits choose the bucket.
  static func hash(_ key: Key) -> UInt64
}

/// Nodes at stable places in one array, found by key: a slab and a hash table that share the nodes' memory.
///
/// A `Dictionary` of places beside a slab was tried on paper: 16 to 32 bytes an entry, where the chain and a bucket take
/// 8 to 12. It doubles when full: that one insertion moves everything, 60 ms for a million nodes of 80 bytes.
struct KeyedSlab<Node: Keyed>: Sendable, Equatable {
  private(set) var nodes: [Node] = []
  private var buckets: [Int32] = [Int32](repeating: -1, count: 8)
  private var free: Int32 = -1
  /// How many nodes are here.
  private(set) var count = 0

  subscript(_ index: Int32) -> Node {
    @inline(__always) _read { yield nodes[Int(index)] }
    @inline(__always) _modify { yield &nodes[Int(index)] }
  }

  /// The place of the node with this key, or -1.
  func find(_ key: Node.Key) -> Int32 {
    var index = buckets[bucket(of: key)]
    while index >= 0, nodes[Int(index)].key != key { index = nodes[Int(index)].chain }
    return index
  }

  /// Takes a node whose key is not here, and says its place.
  mutating func insert(_ node: Node) -> Int32 {
    if count == buckets.count { grow() }
    let bucket = bucket(of: node.key)
    var node = node
    node.chain = buckets[bucket]
    let index: Int32
    if free >= 0 {
      index = free
      free = nodes[Int(index)].chain
      nodes[Int(index)] = node
    } else {
      index = Int32(nodes.count)
      nodes.append(node)
    }
    buckets[bucket] = index
    count += 1
    return index
  }

  /// Gives a place back; its key must not have changed since it was taken.
  mutating func remove(_ index: Int32) {
    let bucket = bucket(of: nodes[Int(index)].key)
    let next = nodes[Int(index)].chain
    if buckets[bucket] == index {
      buckets[bucket] = next
    } else {
      var other = buckets[bucket]
      while nodes[Int(other)].chain != index { other = nodes[Int(other)].chain }
      nodes[Int(other)].chain = next
    }
    nodes[Int(index)].chain = free
    free = index
    count -= 1
  }

  /// The places in use, the lowest first: for checks and changed settings, which look at everything.
  func places() -> [Int32] {
    var places: [Int32] = []
    places.reserveCapacity(count)
    for bucket in buckets {
      var index = bucket
      while index >= 0, places.count <= count {
        places.append(index)
        index = nodes[Int(index)].chain
      }
    }
    return places.sorted()
  }

  /// Bytes of memory that are reserved.
  var reservedBytes: Int { nodes.capacity * MemoryLayout<Node>.stride + buckets.capacity * 4 }

  private func bucket(of key: Node.Key) -> Int { Int(truncatingIfNeeded: Node.hash(key)) & (buckets.count - 1) }

  private mutating func grow() {
    let old = buckets
    buckets = [Int32](repeating: -1, count: old.count * 2)
    for head in old {
      var index = head
      while index >= 0 {
        let next = nodes[Int(index)].chain
        let bucket = bucket(of: nodes[Int(index)].key)
        nodes[Int(index)].chain = buckets[bucket]
        buckets[bucket] = index
        index = next
      }
    }
  }
}
