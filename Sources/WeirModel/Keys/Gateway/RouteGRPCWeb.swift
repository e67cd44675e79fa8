// SPDX-License-Identifier: Apache-2.0

/// `grpc-web:` of a route: whether browsers may call its services of gRPC.
enum RouteGRPCWebKeys {
  static let web = ScalarKey(
    "grpc-web", .bool, rule: "true where all services of the route have `protocol: grpc`",
    "Calls of gRPC-Web, which browsers make, are made into calls of gRPC; `false` passes them on as they are.",
    alias: ["grpcweb", "grpc_web"])

  /// What a page of another origin must be able to send and to read.
  static let sent = ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"]
  static let read = ["grpc-status", "grpc-message", "grpc-status-details-bin"]

  static let field = Field<RouteEdge>.custom(
    web.key,
    read: { layers, resolver, edge in
      edge.grpcWeb = layers.value(web)
      // One that stands in the defaults says what may be, not what every route must do.
      guard let node = layers.node(web.key), layers.fields.first?.node.entry(web.name) == nil, !node.isReported,
        edge.grpcWeb?.value == true
      else { return }
      edge.grpcWeb = nil
    },
    explain: { edge, _ in
      edge.grpcWeb.map {
        [Effective(key: web.name, content: .value(ScalarType<Bool>.bool.write($0.value)), origin: $0.origin)]
      } ?? []
    })
}

extension Resolver {
  /// It follows from what the services speak, unless the file says it; pages of other origins are let through to it.
  mutating func settleGRPCWeb(of route: inout Route) {
    let services = route.services.compactMap { resolvedServices.indices.contains($0) ? resolvedServices[$0] : nil }
    if let web = route.edge.grpcWeb {
      guard web.value else { return }
      if services.isEmpty || !services.allSatisfy({ $0.speaks.value.isHTTP2 }) {
        let other = services.first { !$0.speaks.value.isHTTP2 }?.name.text
        mistake(
          "wrong-value",
          other.map { "gRPC-Web is made into gRPC, and '\($0)' is spoken to in HTTP/1.1" }
            ?? "gRPC-Web is made into gRPC, and this route has no service", at: web,
          why: "gRPC needs HTTP/2 on the whole way to the service",
          mend: other == nil ? "leave 'grpc-web' out" : "protocol: grpc")
        return
      }
    } else {
      guard !services.isEmpty, services.allSatisfy({ $0.speaks.value == .grpc }) else { return }
      route.edge.grpcWeb = Value(true, .derived(from: "protocol: grpc"))
    }
    guard var cors = route.edge.cors else { return }
    func add(_ names: [String], to list: inout [Value<String>]) {
      if list.contains(where: { $0.value == "*" }) { return }
      for name in names where !list.contains(where: { $0.value.lowercased() == name }) {
        list.append(Value(name, .derived(from: RouteGRPCWebKeys.web.name)))
      }
    }
    add(RouteGRPCWebKeys.sent, to: &cors.headers)
    add(RouteGRPCWebKeys.read, to: &cors.expose)
    route.edge.cors = cors
  }
}
