// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirWire

/// Pages in place of the bodies of failures.
extension ClientConnection {
  /// What tells of the body that is replaced.
  private static let ofTheBody = names([
    "accept-ranges", "content-disposition", "content-encoding", "content-language", "content-length", "content-md5",
    "content-range", "content-type", "digest", "etag", "last-modified", "transfer-encoding",
  ])

  private static func names(_ names: [String]) -> FieldNames {
    do { return try FieldNames(names) } catch { preconditionFailure("names of fields that are none: \(error)") }
  }

  /// The answer's head with a page for its body; what comes of its own body is read past.
  func replace(_ upstream: UpstreamConnection, by page: RoutePolicy.Page, now: Instant) {
    relay = .asIs
    closeAfter = closeAfter || head.flags.contains(.http10) && !head.flags.contains(.keepAlive)
    decideWhetherToClose()
    upstream.head.drop(&upstream.input, ClientConnection.ofTheBody)
    if let rules, !rules.droppedInAnswers.isEmpty { upstream.head.drop(&upstream.input, rules.droppedInAnswers) }
    if let rule = epoch.requestID { upstream.head.drop(&upstream.input, rule.names) }
    if edgePolicy?.cors != nil { upstream.head.drop(&upstream.input, CORSPolicy.dropped) }
    loop.scratch.clear()
    loop.scratch.appendResponse(&upstream.input, upstream.head)
    loop.scratch.append(page)
    if edgePolicy != nil { appendEdgeFields() }
    if let rules { appendOwnAnswerLines(rules) }
    if let rule = epoch.requestID { appendRequestID(rule) }
    if !upstream.head.flags.contains(.date) { loop.scratch.append(loop.dateLine) }
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    if head.method != .head { loop.scratch.append(page.body) }
    bodyOut = head.method == .head ? 0 : Int64(page.body.count)
    upstream.input.moveReaderIndex(forwardBy: upstream.head.length)
    writeScratch()
    endAnswer(upstream, now: now)
    flush()
    advance()
  }
}

extension HeadBuffer {
  /// What tells of a page.
  mutating func append(_ page: RoutePolicy.Page) {
    append("Content-Type: ")
    append(Array(page.contentType.utf8))
    append("\r\nContent-Length: ")
    append(decimal: Int64(page.body.count))
    append("\r\n")
  }

  /// Our own answer's head, with a page for its body.
  mutating func append(_ answer: ErrorAnswer, _ page: RoutePolicy.Page) {
    append("HTTP/1.1 ")
    append(decimal: Int64(answer.status))
    append(" ")
    append(StatusPhrase.of(answer.status))
    append("\r\n")
    append(page)
    append("Cache-Control: no-store\r\n")
    append(answer.proxyStatus)
  }
}
