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

  /// Metrics of TCP, by listener.
  func tcpFamilies(_ reports: [ProxyServer.LoopReport]) -> [Snapshot.Family] {
    let listeners = (plan.gateway?.listeners ?? []).filter { $0.tcp != nil }
    if listeners.isEmpty { return [] }
    var open = Snapshot.Family("weir_tcp_open", .gauge, "TCP connections that are open, or wait for an instance.")
    var ended = Snapshot.Family("weir_tcp_connections_total", .counter, "TCP connections that are over, by reason.")
    var bytes = Snapshot.Family("weir_tcp_bytes_total", .counter, "Bytes of TCP that were passed on, by who sent them.")
    for listener in listeners {
      guard let socket = socket(for: listener) else { continue }
      var sum = TCPCount()
      for report in reports { if let count = report.tcp[socket.name] { sum += count } }
      let name = (name: "listener", value: "\(listener.host):\(socket.port)")
      open.add([name], Double(sum.open))
      for reason in Reason.allCases where reason == .none || sum.ended[Int(reason.rawValue)] > 0 {
        ended.add([name, (name: "reason", value: "\(reason.name)")], Double(sum.ended[Int(reason.rawValue)]))
      }
      bytes.add([name, (name: "from", value: "client")], Double(sum.bytesIn))
      bytes.add([name, (name: "from", value: "service")], Double(sum.bytesOut))
    }
    return [open, ended, bytes]
  }
}
