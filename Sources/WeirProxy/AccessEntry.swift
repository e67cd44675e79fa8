// SPDX-License-Identifier: Apache-2.0

package import WeirFlows

/// What only the proxy knows of a request, beside its `RequestRecord` (found by `tag`): for the access log and traces.
package struct AccessEntry: Sendable, Equatable {
  /// Given when the request ends, so that tags grow in the order in which entries and records are kept.
  package var tag: UInt64 = 0
  package var method: String
  /// The path as sent, without its query (which may hold secrets), cut at 512 bytes.
  package var path: String
  package var host: String
  package var client: String
  package var traceHigh: UInt64
  package var traceLow: UInt64
  package var bytesIn: Int64
  package var bytesOut: Int64
  /// Empty where the gateway gives none.
  package var requestID = ""
  /// Who the caller is, by the name of the identity that knows it, and its tenant; empty for nobody.
  package var identity = ""
  package var tenant = ""
  /// What became of its key: `executed`, `replayed`; empty without one.
  package var idempotency = ""

  static let pathBytesMax = 512
}

extension ProxyServer.LoopReport {
  /// The requests that have ended, in that order: each record with its entry.
  ///
  /// Both lists grow by their tags, for `ClientConnection.endRequest` gives a tag and keeps record and entry at one place.
  /// Who has only one of the two, for the other list was full, is passed over and counted as lost.
  package var finished: [(record: RequestRecord, entry: AccessEntry)] {
    var pairs: [(record: RequestRecord, entry: AccessEntry)] = []
    pairs.reserveCapacity(min(records.count, access.count))
    var next = access.startIndex
    for record in records {
      while next < access.endIndex, access[next].tag < record.tag { next += 1 }
      guard next < access.endIndex, access[next].tag == record.tag else { continue }
      pairs.append((record, access[next]))
    }
    return pairs
  }
}
