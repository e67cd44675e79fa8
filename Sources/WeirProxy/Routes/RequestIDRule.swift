// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPlatform
import WeirWire

/// Where the id of a request stands, and whose is taken over.
package struct RequestIDRule: Sendable {
  /// Its lines, of requests and of answers, are ours to write.
  let names: FieldNames
  let header: [UInt8]
  /// One that a trusted proxy has given stays.
  let trusts: Bool

  /// Nil for a name that is none.
  package init?(header: String, trusts: Bool) {
    guard let names = try? FieldNames([header]) else { return nil }
    self.names = names
    self.header = Array(header.utf8)
    self.trusts = trusts
  }
}

extension ClientConnection {
  /// The id of the request that begins: a trusted proxy's, or a new one.
  func takeRequestID(_ rule: RequestIDRule) {
    requestID.clear()
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    if rule.trusts && sender.contains(.proxy) {
      var fields = Fields(head)
      while let field = fields.next(bytes) {
        if rule.names.index(bytes, field.name) < 0 { continue }
        if RequestID.isFine(bytes, field.value) { requestID.append(bytes, field.value.range) }
        break
      }
    }
    if requestID.count == 0 {
      let first = loop.requestIDs.next(milliseconds: SystemClock.wall().milliseconds, random: loop.random.next())
      requestID.append(uuid7: first, loop.random.next())
    }
  }

  /// The line that carries it on, or back.
  func appendRequestID(_ rule: RequestIDRule) {
    loop.scratch.append(rule.header)
    loop.scratch.append(": ")
    let id = requestID.storage
    loop.scratch.append(id.span, 0..<requestID.count)
    loop.scratch.append("\r\n")
  }
}
