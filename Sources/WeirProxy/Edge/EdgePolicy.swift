// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirCompression
import WeirFlows
package import WeirMessaging
package import WeirPatterns
package import WeirWire

/// What the gateway itself does for requests of a route; made once, the same for all loops.
package final class EdgePolicy: Sendable {
  package let answer: FixedAnswer?
  package let cors: CORSPolicy?
  package let compression: CompressionRule?
  package let files: FilesPolicy?
  package let compose: ComposePolicy?
  package let fallback: FallbackWay?
  package let queue: QueueRoute?

  package init(
    answer: FixedAnswer? = nil, files: FilesPolicy? = nil, compose: ComposePolicy? = nil, cors: CORSPolicy? = nil,
    compression: CompressionRule? = nil, fallback: FallbackWay? = nil, queue: QueueRoute? = nil
  ) {
    self.queue = queue
    self.fallback = fallback
    self.compose = compose
    self.answer = answer
    self.files = files
    self.cors = cors
    self.compression = compression
  }
}

/// An answer that is the same for everybody, ready to be sent.
package struct FixedAnswer: Sendable {
  let status: UInt16
  /// Status line and fields, without `Date` and `Connection`, which are of the moment.
  let head: [UInt8]
  let body: [UInt8]

  /// `fields` are names and values that were checked when they were read.
  package init(status: UInt16, fields: [(name: String, value: String)] = [], body: [UInt8] = []) {
    self.status = status
    self.body = body
    var text = HeadBuffer(capacity: 256)
    text.appendStatusLine(status)
    for (name, value) in fields {
      let bytes = Array(value.utf8)
      _ = text.appendField(Array(name.utf8), bytes.span)
    }
    if status != 204 && status != 304 {
      text.append("Content-Length: ")
      text.append(decimal: Int64(body.count))
      text.append("\r\n")
    }
    head = Array(text.storage.prefix(text.count))
  }
}

extension HeadBuffer {
  mutating func appendStatusLine(_ status: UInt16) {
    append("HTTP/1.1 ")
    append(decimal: Int64(status))
    append(" ")
    append(StatusPhrase.of(status))
    append("\r\n")
  }
}

/// Which pages of other origins may call a route, with the lines that tell them so.
package struct CORSPolicy: Sendable {
  let rule: CORSRule
  /// Behind the line with the origin: credentials, and what may be read.
  let actual: [UInt8]
  /// Methods, and for how long.
  let preflight: [UInt8]
  /// `Access-Control-Allow-Headers` where it does not depend on what is asked.
  let headers: [UInt8]
  /// What a service behind says of this is not passed on: one of both must decide.
  static let dropped = FieldNames.ours([
    "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
    "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age",
  ])

  package init(_ rule: CORSRule) {
    self.rule = rule
    let settings = rule.settings
    var lines = ""
    if settings.credentials { lines += "Access-Control-Allow-Credentials: true\r\n" }
    var answer = lines
    if !settings.expose.isEmpty {
      answer += "Access-Control-Expose-Headers: \(settings.expose.joined(separator: ", "))\r\n"
    }
    actual = Array(answer.utf8)
    lines += "Access-Control-Allow-Methods: \(settings.methods.joined(separator: ", "))\r\n"
    lines += "Access-Control-Max-Age: \(max(0, settings.maxAge.components.seconds))\r\n"
    preflight = Array(lines.utf8)
    let named = settings.headers.filter { $0 != "*" }
    headers =
      named.isEmpty ? [] : Array("Access-Control-Allow-Headers: \(named.joined(separator: ", "))\r\n".utf8)
  }
}

/// What of an answer's head would not be true of its compressed body.
enum CompressionPolicy {
  /// A length that is another, ranges that would name other bytes, digests of what is not sent; the tag comes back weak.
  static let dropped = FieldNames.ours([
    "content-length", "content-encoding", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest",
    "etag",
  ])
  static let tags = FieldNames.ours(["etag"])
}

extension FieldNames {
  static func ours(_ names: [String]) -> FieldNames {
    do throws(FieldNames.Mistake) { return try FieldNames(names) } catch {
      preconditionFailure("names of the standard are names: \(error)")
    }
  }
}

/// What is known of the request in work that its route's policy needs; kept by the connection for the next one.
final class EdgeWork {
  /// The origin that may read the answer; empty for none.
  var origin: [UInt8] = []
  /// The coding that the answer may have.
  var coding = ContentCoding.identity
  var verdict = CompressionRule.Verdict.leave
  /// `Vary` of the answer has `Accept-Encoding` already, or need not.
  var variesEncoding = true
  /// The answer's own tag, in the head that is being relayed.
  var tag = Run.empty
  var encoder: StreamEncoder?
  /// The file that is being sent.
  var file: FileStream?
  /// By what the last good answer to this request is found; empty when none is kept.
  var lastKey: [UInt8] = []
  /// The answer that is relayed is kept: its lines, and its body so far.
  var keeps = false
  var kept = HeadBuffer(capacity: 64)
  var keptBody = ByteBuffer()
  /// The request's own call has failed for this reason, and the fallback's is under way.
  var isFallingBack = false
  var reason = Reason.none
  /// The calls that its answer is made of.
  var compose: ComposeRun?
  /// Which request of the connection this is: what comes late from elsewhere may be for an earlier one.
  private(set) var ticket: UInt64 = 0
  /// Whatever has come goes out at once.
  var flushes = false

  func begin() {
    ticket &+= 1
    file = nil
    compose = nil
    keeps = false
    isFallingBack = false
    lastKey.removeAll(keepingCapacity: true)
    origin.removeAll(keepingCapacity: true)
    coding = .identity
    verdict = .leave
  }
}
