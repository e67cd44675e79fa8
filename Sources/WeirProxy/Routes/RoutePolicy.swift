// SPDX-License-Identifier: Apache-2.0
package import WeirPatterns
package import WeirWire

/// What a route does to its requests and answers, beside sending them on; plain values, made by the runtime from a plan.
package struct RoutePolicy: Sendable {
  /// What `$route` stands for.
  package var name: String
  /// The path as the service sees it.
  package var rewrite: Template?
  /// The host as the service sees it.
  package var host: String?
  package var query: QueryEdits?
  package var request = HeaderEdits.none
  package var response = HeaderEdits.none
  /// Sends the caller elsewhere: of a route that leads to no service.
  package var redirect: Redirect?
  /// It is on its way out, and where is told what to use instead.
  package var retirement: Retirement?
  package var retirementLink: String?
  /// A client that meets one of several services gets its key in a cookie.
  package var keepsByCookie = false
  package var errorPages: [Page] = []
  package var json: JSONPolicy?
  /// Requests are mirrored, and bodies compared or not; nil: none is.
  package var mirrorCompares: Bool?

  /// What stands in place of an answer's body.
  package struct Page: Sendable {
    package var statuses: ClosedRange<Int>
    package var contentType: String
    package var body: [UInt8]

    package init(statuses: ClosedRange<Int>, contentType: String, body: [UInt8]) {
      self.statuses = statuses
      self.contentType = contentType
      self.body = body
    }
  }

  package init(name: String) { self.name = name }

  package struct Redirect: Sendable {
    package var to: Template
    package var status: UInt16

    package init(to: Template, status: UInt16) {
      self.to = to
      self.status = status
    }
  }
}

/// A route's policy as a loop uses it: names as bytes, and what is to be asked at each place as one flag.
///
/// An object, so that a connection holds it for the time of a request; a route without a policy has none, and costs one
/// branch.
final class RouteRules: Sendable {
  let policy: RoutePolicy
  let name: [UInt8]
  let host: [UInt8]?
  /// Lines that are not passed on.
  let dropped: FieldNames
  let droppedInAnswers: FieldNames
  /// The request line is another one, or the host.
  let changesTarget: Bool
  let changesAnswers: Bool
  /// JSON bodies are changed.
  let editsBodies: Bool
  let editsRequests: Bool
  /// Edits of answers: first those that fit an answer of ours, too, then those of fields that ours have themselves.
  let answerEdits: [HeaderEdits.Edit]
  let ownAnswerEdits: Int
  /// `Deprecation`, `Sunset` and `Link`.
  let retirementLines: [UInt8]
  /// By status from 400 to 599: index of its page, or 255.
  private let pages: [UInt8]

  init(_ policy: RoutePolicy) {
    self.policy = policy
    name = Array(policy.name.utf8)
    host = policy.host.map { Array($0.utf8) }
    editsBodies = policy.json?.request != nil || policy.json?.response != nil
    editsRequests = policy.json?.request != nil
    dropped = RouteRules.names(
      policy.request.dropped,
      (host == nil ? [] : ["host"]) + (policy.json?.response == nil ? [] : ["accept-encoding", "range", "if-range"]))
    retirementLines = RouteRules.lines(policy)
    droppedInAnswers = RouteRules.names(
      policy.response.dropped,
      policy.retirement == nil
        ? []
        : ["deprecation", "sunset"].filter { name in
          !policy.response.dropped.contains(Array(name.utf8))
        })
    // Those of one status last: they win.
    let order = policy.errorPages.indices.sorted {
      policy.errorPages[$0].statuses.count > policy.errorPages[$1].statuses.count
    }
    var pages = [UInt8](repeating: 255, count: policy.errorPages.isEmpty ? 0 : 200)
    for index in order.prefix(255) {
      for status in policy.errorPages[index].statuses { pages[status - 400] = UInt8(index) }
    }
    self.pages = pages
    changesTarget = policy.rewrite != nil || policy.query != nil || policy.host != nil
    changesAnswers = !policy.response.isEmpty || policy.retirement != nil || policy.keepsByCookie
    let ours = ["allow", "cache-control", "content-type", "date", "location", "ratelimit", "retry-after"]
    let fits = policy.response.edits.filter { edit in !ours.contains { Array($0.utf8) == edit.name } }
    answerEdits = fits + policy.response.edits.filter { edit in ours.contains { Array($0.utf8) == edit.name } }
    ownAnswerEdits = fits.count
  }

  /// What stands in place of an answer's body.
  func page(_ status: UInt16) -> RoutePolicy.Page? {
    if pages.isEmpty || status < 400 || status > 599 { return nil }
    let index = Int(pages[Int(status) - 400])
    return index == 255 ? nil : policy.errorPages[index]
  }

  private static func lines(_ policy: RoutePolicy) -> [UInt8] {
    guard let retirement = policy.retirement else { return [] }
    var text = ""
    if let field = retirement.deprecationField { text += "Deprecation: \(field)\r\n" }
    if let field = retirement.sunsetField { text += "Sunset: \(field)\r\n" }
    // RFC 9745 §3 and RFC 8594 §6 have a relation each.
    if let link = policy.retirementLink {
      let relation = retirement.deprecationField == nil ? "sunset" : "deprecation"
      text += "Link: <\(link)>; rel=\"\(relation)\"\r\n"
    }
    return Array(text.utf8)
  }

  private static func names(_ names: [[UInt8]], _ more: [String] = []) -> FieldNames {
    // They were checked, and counted, when the policy's edits were made.
    do { return try FieldNames(names.map { String(decoding: $0, as: UTF8.self) } + more) } catch {
      preconditionFailure("edits of header fields that are none: \(error)")
    }
  }
}
