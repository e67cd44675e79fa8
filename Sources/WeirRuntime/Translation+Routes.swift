// SPDX-License-Identifier: Apache-2.0
import WeirModel
import WeirPlatform
import WeirProxy
import WeirWire

extension Translation {
  /// By route: what it does beside sending requests on.
  static func policies(_ plan: Plan) throws(PlaneError) -> [RoutePolicy?] {
    let folder = Files.parent(of: plan.design.file)
    var policies: [RoutePolicy?] = []
    for (index, treatment) in (plan.gateway?.treatments ?? []).enumerated() {
      guard let treatment else {
        policies.append(nil)
        continue
      }
      var policy = policy(treatment, name: plan.routes[index])
      for page in treatment.errorPages { policy.errorPages.append(try read(page, policy.name, folder)) }
      policies.append(policy)
    }
    return policies
  }

  /// The most bytes of a page: it is kept in memory.
  private static let pageBytesMax = 1 << 20

  private static func read(_ page: ErrorPage, _ route: String, _ folder: String) throws(PlaneError) -> RoutePolicy.Page
  {
    if let text = page.answer?.value {
      let type = text.first == "{" || text.first == "[" ? "application/json" : "text/plain; charset=utf-8"
      return RoutePolicy.Page(statuses: page.statuses, contentType: type, body: Array(text.utf8))
    }
    let path = Files.resolve(page.file?.value ?? "", in: folder)
    let body: [UInt8]
    do throws(SystemError) { body = try Files.bytes(path) } catch {
      throw PlaneError("the page for \(page.status.text) of route '\(route)' cannot be read: \(error)")
    }
    if body.count > pageBytesMax {
      throw PlaneError("the page for \(page.status.text) of route '\(route)' has more than \(pageBytesMax) bytes")
    }
    let type =
      path.hasSuffix(".json")
      ? "application/json" : path.hasSuffix(".txt") ? "text/plain; charset=utf-8" : "text/html; charset=utf-8"
    return RoutePolicy.Page(statuses: page.statuses, contentType: type, body: body)
  }

  private static func policy(_ treatment: Plan.RouteTreatment, name: String) -> RoutePolicy {
    var policy = RoutePolicy(name: name)
    policy.rewrite = treatment.rewrite
    policy.host = treatment.host
    let query = QueryEdits(set: treatment.query, remove: treatment.queryRemove)
    policy.query = query.isEmpty ? nil : query
    policy.request = treatment.request
    policy.response = treatment.response
    policy.redirect = treatment.redirect.map { .init(to: $0.to, status: UInt16($0.status)) }
    policy.retirement = treatment.retirement
    policy.retirementLink = treatment.retirementLink
    policy.mirrorCompares = treatment.mirrorCompares
    policy.keepsByCookie = treatment.keepsByCookie
    policy.json = treatment.json.map {
      JSONPolicy(request: $0.request.map(direction), response: $0.response.map(direction), most: $0.most)
    }
    return policy
  }

  private static func direction(_ direction: RouteJSON.Direction) -> JSONPolicy.Direction {
    JSONPolicy.Direction(
      edits: direction.edits,
      values: direction.fillings.map { filling in
        switch filling {
        case .json(let json): .json(json)
        case .text(let template): .text(template)
        }
      })
  }
}
