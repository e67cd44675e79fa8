// SPDX-License-Identifier: Apache-2.0

/// `defaults:`: between Weir's own defaults and what stands at a thing itself.
///
/// A key stands here too when its field says `inDefaults`.
enum DefaultsKeys {
  static let call = Key("call", .section(callSection), "For every call that does not say.")
  static let service = Key("service", .section(serviceSection), "For every service that does not say.")
  static let route = Key("route", .section(routeSection), "For every route that does not say.")

  static let section = Section(
    name: "defaults", doc: "What holds unless a thing says otherwise.", keys: [call, service, route])

  static let callSection = CallKeys.section.defaults(
    "call-defaults", "The keys of a call that make sense for all calls.")
  static let serviceSection = ServiceKeys.section.defaults(
    "service-defaults", "The keys of a service that make sense for all services.")
  static let routeSection = RouteKeys.section.defaults(
    "route-defaults", "The keys of a route that make sense for all routes.")
}
