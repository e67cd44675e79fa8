// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// gRPC to a service that is spoken to in HTTP/1.1.
enum GRPCOverHTTP1: Rule {
  static let info = RuleInfo(
    "grpc-over-http1", .routing, .error, title: "gRPC to a service that is spoken to in HTTP/1.1",
    why:
      "gRPC says how a call ended in trailers, behind the messages, and needs HTTP/2 on the whole way. A gRPC server "
      + "does not answer HTTP/1.1, so each call and each health check ends as a failure.",
    detection:
      "a service without `protocol: grpc` or `http2` that has `health: { grpc: … }`, or that a route of the form "
      + "`/package.Service/…` leads to",
    formula: "protocol = http, and gRPC is asked of it",
    mend: "Say what its instances speak.",
    falsePositives: "A path that only looks like gRPC's. Accept it with the reason.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    let methods = subject.design.gateways.flatMap { $0.routes.filter { isMethodPath($0.path.value) } }
    for (index, service) in subject.design.services.enumerated() where !service.speaks.value.isHTTP2 {
      let name = service.name.text
      let route = methods.first { $0.services.contains(index) }
      let asks: String
      if service.health?.grpc != nil {
        asks = "its health check speaks gRPC"
      } else if let route {
        asks = "route \(route.name.text) (\(route.path.value)) looks like gRPC"
      } else {
        continue
      }
      found.append(
        info.finding(
          "\(name) is spoken to in HTTP/1.1, and \(asks)", at: service.name.place, spot: service.name.place.head,
          caret: "protocol: http", why: "a gRPC server does not answer HTTP/1.1: every call to \(name) fails",
          mend: "protocol: grpc", inputs: [Finding.Input("protocol of \(name)", "http", nil)],
          result: "no call ends well"))
    }
    return found
  }

  /// `/shop.Orders/…`: a package in small letters, a service that begins with a capital.
  private static func isMethodPath(_ path: String) -> Bool {
    let segments = path.split(separator: "/")
    guard segments.count == 2, let dot = segments[0].lastIndex(of: "."), dot != segments[0].startIndex else {
      return false
    }
    return segments[0][segments[0].index(after: dot)...].first.map { $0.isASCII && $0.isUppercase } ?? false
  }
}
