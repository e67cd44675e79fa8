// SPDX-License-Identifier: Apache-2.0

/// Parameters of a query that are set or taken out; names are compared decoded.
public struct QueryEdits: Sendable, Equatable {
  /// Those whose pairs go: taken out, or set anew.
  private var dropped: [[UInt8]] = []
  /// The pairs of what is set, escaped, with `&` between them.
  private var added: [UInt8] = []

  public init(set: [(name: String, value: String)] = [], remove: [String] = []) {
    dropped = (remove + set.map(\.name)).map { Array($0.utf8) }
    var text = HeadBuffer(capacity: 64)
    for (name, value) in set {
      if text.count > 0 { text.append("&") }
      text.append(escaped: Array(name.utf8).span)
      text.append("=")
      text.append(escaped: Array(value.utf8).span)
    }
    added = Array(text.storage.prefix(text.count))
  }

  public var isEmpty: Bool { dropped.isEmpty }

  func drops(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
    for candidate in dropped where Query.isNamed(bytes, name, candidate) { return true }
    return false
  }

  fileprivate func appendAdded(_ out: inout HeadBuffer, isFirst: Bool) {
    if added.isEmpty { return }
    out.append(byte: isFirst ? 0x3f : 0x26)
    out.append(added)
  }
}

extension HeadBuffer {
  /// `?` and the query with edits made; nothing when no pair is left.
  ///
  /// Pairs that stay are as they were written and in their order, those that are set stand behind them.
  public mutating func appendQuery(_ bytes: Span<UInt8>, _ query: Run, _ edits: QueryEdits?) {
    guard let edits else {
      if query.isEmpty { return }
      append(byte: 0x3f)
      append(bytes, query.range)
      return
    }
    var pairs = Query.Pairs(query)
    var isFirst = true
    while let pair = pairs.next(bytes) {
      if edits.drops(bytes, pair.name) { continue }
      append(byte: isFirst ? 0x3f : 0x26)
      append(bytes, pair.all)
      isFirst = false
    }
    edits.appendAdded(&self, isFirst: isFirst)
  }
}
