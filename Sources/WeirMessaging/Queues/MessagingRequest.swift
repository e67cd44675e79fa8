// SPDX-License-Identifier: Apache-2.0
package import WeirFlows
internal import WeirWire

/// A request to the messaging of the system, whole, as a program has sent it to its `$WEIR_URL`.
package struct MessagingRequest: Sendable, Equatable {
  package var method: String
  /// Behind `/from/<caller>`, as it was written: `/queues/emails`.
  package var path: String
  /// Behind `?`, as it was written; nil without one.
  package var query: String?
  package var fields: [MessagingField]
  package var body: [UInt8]

  package init(method: String, path: String, query: String? = nil, fields: [MessagingField] = [], body: [UInt8] = []) {
    self.method = method
    self.path = path
    self.query = query
    self.fields = fields
    self.body = body
  }

  /// The values of a field; names are compared without case.
  func values(_ name: String) -> [String] {
    fields.filter { $0.name.lowercased() == name }.map(\.value)
  }
}

/// A field of a request or an answer.
///
/// Bytes that are no UTF-8 have become U+FFFD, which no value may have that is kept.
package struct MessagingField: Sendable, Equatable {
  package var name: String
  package var value: String

  package init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// What is answered; without `Date`, `Connection` and `Content-Length`, which are the connection's.
package struct MessagingAnswer: Sendable, Equatable {
  package var status: UInt16
  package var fields: [MessagingField]
  package var body: [UInt8]
  /// Why it is a refusal; `none` when it is not.
  package var reason: Reason

  init(status: UInt16, json: [UInt8], fields: [MessagingField] = []) {
    self.status = status
    self.fields = [MessagingField("Content-Type", "application/json"), MessagingField("Cache-Control", "no-store")]
    self.fields += fields
    body = json
    reason = .none
  }

  /// What is given back as it was taken.
  init(status: UInt16, fields: [MessagingField], body: [UInt8]) {
    self.status = status
    self.fields = fields
    self.body = body
    reason = .none
  }

  /// A refusal as all of ours look: problem+json (RFC 9457) and `Proxy-Status` (RFC 9209).
  ///
  /// - Parameters:
  ///   - flaws: what is wrong with the request; the first is the sentence.
  ///   - retryAfter: in milliseconds, told in whole seconds.
  ///   - more: further members.
  package init(
    _ reason: Reason, detail: String? = nil, flaws: [Flaw] = [], retryAfter: Int64? = nil,
    fields more: [MessagingField] = []
  ) {
    self.init(reason, detail: detail, flaws: flaws, retryAfter: retryAfter, fields: more) { _ in }
  }

  init(
    _ reason: Reason, detail: String?, flaws: [Flaw], retryAfter: Int64?, fields more: [MessagingField],
    _ members: (inout JSONWriter) -> Void
  ) {
    var writer = JSONWriter()
    writer.object { problem in
      problem.text("type", "about:blank")
      problem.text("title", "\(StatusPhrase.of(reason.status))")
      problem.number("status", reason.status)
      problem.text("detail", detail ?? flaws.first?.sentence ?? "\(reason.sentence)")
      problem.text("reason", "\(reason.name)")
      if !flaws.isEmpty {
        problem.array("errors") { list in
          for flaw in flaws {
            list.object { error in
              error.text("at", flaw.at)
              error.text("what", flaw.what)
              if let mend = flaw.mend { error.text("mend", mend) }
            }
          }
        }
      }
      members(&problem)
    }
    status = reason.status
    body = writer.finish()
    self.reason = reason
    fields = [
      MessagingField("Content-Type", "application/problem+json"), MessagingField("Cache-Control", "no-store"),
      MessagingField("Proxy-Status", "weir; error=\(reason.proxyStatus); details=\"\(reason.name)\""),
    ]
    if let retryAfter {
      fields.append(MessagingField("Retry-After", "\(max(1, (min(retryAfter, 86_400_000) + 999) / 1000))"))
    }
    fields += more
  }
}
