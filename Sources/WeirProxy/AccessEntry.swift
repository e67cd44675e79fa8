// SPDX-License-Identifier: Apache-2.0

/// What only the proxy knows of a request, beside its `RequestRecord` (found by `tag`): for the access log and traces.
package struct AccessEntry: Sendable, Equatable {
  package var tag: UInt64
  package var method: String
  /// The path as sent, without its query (which may hold secrets), cut at 512 bytes.
  package var path: String
  package var host: String
  package var client: String
  package var traceHigh: UInt64
  package var traceLow: UInt64
  package var bytesIn: Int64
  package var bytesOut: Int64

  static let pathBytesMax = 512
}
