// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows

/// A listener of TCP: which call a connection is, and what is said about it.
package struct TCPListener: Sendable, Equatable {
  /// The edge of connections that no name takes; nil when they are refused.
  package var edge: Int?
  /// Edges by the name that a TLS client asks for, in lower case; `*.` for all names below.
  package var names: [Name]
  /// Nothing has moved for so long; in nanoseconds.
  package var idle: Int64
  /// The listener's own, by which it is found again in a changed plan.
  var name = ""

  package struct Name: Sendable, Equatable {
    package var host: [UInt8]
    package var edge: Int

    package init(host: String, edge: Int) {
      self.host = Array(host.utf8)
      self.edge = edge
    }
  }

  package init(edge: Int?, names: [Name] = [], idle: Duration = .seconds(3600)) {
    self.edge = edge
    self.names = names
    self.idle = idle.inNanoseconds
  }

  /// The edge for a name: an exact one before the longest wildcard, then the rest.
  func edge(for name: [UInt8]?) -> Int? {
    guard let name else { return edge }
    var best: Name?
    for candidate in names {
      if candidate.host == name { return candidate.edge }
      guard candidate.host.starts(with: [0x2a, 0x2e]) else { continue }
      let tail = candidate.host.dropFirst()
      if name.count > tail.count, name.suffix(tail.count).elementsEqual(tail),
        candidate.host.count > best?.host.count ?? 0
      {
        best = candidate
      }
    }
    return best?.edge ?? edge
  }
}

/// What a loop has counted of a listener's TCP connections.
package struct TCPCount: Sendable, Equatable {
  /// Open now, with those that wait for an instance.
  package var open = 0
  /// Connections that are over, by `Reason`.
  package var ended = [UInt64](repeating: 0, count: Reason.count)
  /// Bytes of clients and of instances that were passed on.
  package var bytesIn: UInt64 = 0
  package var bytesOut: UInt64 = 0

  package init() {}

  package static func += (a: inout TCPCount, b: TCPCount) {
    a.open += b.open
    for i in a.ended.indices { a.ended[i] &+= b.ended[i] }
    a.bytesIn &+= b.bytesIn
    a.bytesOut &+= b.bytesOut
  }
}

/// One listener's count on one loop: its connections share it, and count in it without looking it up.
final class TCPCounter {
  var count = TCPCount()
}
