// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

extension Plan {
  /// What a route does to its requests; nil for one that only sends them on.
  ///
  /// Its templates were checked when the file was read.
  func treatment(of route: Route, _ pattern: RoutePattern?) -> RouteTreatment? {
    var treatment = RouteTreatment()
    if let path = route.transform.rewrite?.path, let pattern {
      treatment.rewrite = try? Template(rewrite: path.value, of: pattern)
    }
    treatment.host = route.transform.rewrite?.host?.value
    treatment.querySet = route.transform.query.set
    treatment.queryRemove = route.transform.query.remove.map(\.value)
    treatment.request = (try? route.transform.request.edits(pattern)) ?? .none
    treatment.response = (try? route.transform.response.edits(pattern)) ?? .none
    if let redirect = route.target.redirect, let to = try? Template(redirect.to.value, path: pattern) {
      treatment.redirect = RouteTreatment.Redirect(to: to, status: redirect.status.value)
    }
    treatment.retirement = route.target.retirement.map { Retirement($0.settings) }
    treatment.retirementLink = route.target.retirement?.link?.value
    treatment.keepsByCookie = route.to.count > 1 && route.target.sticky?.value == .cookie
    treatment.mirrorCompares = route.to.isEmpty ? nil : route.target.mirror?.compare.value
    treatment.errorPages = route.transform.errorPages
    treatment.json = route.transform.json.map { $0.compiled(pattern) }
    return treatment == RouteTreatment() ? nil : treatment
  }

  /// A number of a route's own that its name alone decides, so that it is the same on every node and after every reload:
  /// FNV-1a (RFC 9923), 64 bits.
  static func salt(_ name: String) -> UInt64 {
    name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
  }
}
