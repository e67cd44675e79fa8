// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirModel
import WeirProxy
import WeirTelemetry

extension Plane {
  /// Metrics of WebSockets, by route that has them.
  func tunnelFamilies(_ reports: [ProxyServer.LoopReport]) -> [Snapshot.Family] {
    let routes = plan.flow.routes.indices.filter { plan.flow.routes[$0].webSocket != nil }
    if routes.isEmpty { return [] }
    var open = Snapshot.Family("weir_websockets_open", .gauge, "WebSockets that are open.")
    var opened = Snapshot.Family("weir_websockets_total", .counter, "WebSockets whose handshake was agreed to.")
    var messages = Snapshot.Family("weir_websocket_messages_total", .counter, "Messages that began, by who sent them.")
    for route in routes {
      var sum = TunnelCount()
      for report in reports where route < report.tunnels.count { sum += report.tunnels[route] }
      let name = plan.routes[route]
      open.add([(name: "route", value: name)], Double(sum.open))
      opened.add([(name: "route", value: name)], Double(sum.opened))
      messages.add([(name: "route", value: name), (name: "from", value: "client")], Double(sum.messagesIn))
      messages.add([(name: "route", value: name), (name: "from", value: "service")], Double(sum.messagesOut))
    }
    return [open, opened, messages]
  }
}
