// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirModel
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// The state process: started when a file needs it, then kept running by the keeper until the run ends.
enum StateProgram {
  /// No service has such a name.
  static let name = "weir.state"
  static let id = name + "-1"

  static func socketPath(_ settings: RunSettings) -> String { settings.state + "/state.sock" }

  static func spec(_ settings: RunSettings) -> ProgramSpec? {
    guard let executable = Files.ownExecutable else { return nil }
    var environment: [ProgramSpec.Variable] = []
    for name in ["PATH", "HOME", "LANG", "TZ", "TMPDIR"] {
      if let value = OwnEnvironment.value(name) { environment.append(.init(name, value)) }
    }
    var spec = ProgramSpec(
      name: name, instance: 1, argv: [executable, "state", settings.state], environment: environment,
      directory: settings.state)
    spec.isKept = true
    return spec
  }
}

extension Plane {
  /// Has the keeper start the state process, unless it runs already.
  ///
  /// It stays when a later file needs it no more: requests of older plans may.
  func startState(for plan: Plan) {
    guard plan.needsState, !hasState else { return }
    guard let spec = StateProgram.spec(settings) else {
      return journal.say("the state process cannot be started: this program's own file is not to be found")
    }
    hasState = true
    client.send(.start(program: spec))
  }

  /// The order in which programs end; the state process after all that may still want to store something.
  var stopStages: [[String]] { supervisor.stopStages + (hasState ? [[StateProgram.name]] : []) }

  /// What became of requests with a key, and whether the state process answers.
  func stateFamilies(_ reports: [ProxyServer.LoopReport]) -> [Snapshot.Family] {
    let routes = plan.flow.routes.indices.filter { plan.flow.routes[$0].idempotency != nil }
    if !plan.needsState { return [] }
    var up = Snapshot.Family("weir_state_up", .gauge, "1 while the state process answers every loop.")
    up.add([], isStateUp(reports) ? 1 : 0)
    if routes.isEmpty { return [up] }
    var requests = Snapshot.Family(
      "weir_idempotency_requests_total", .counter, "Requests with a key, by what became of them.")
    for route in routes {
      var sum = KeyedCount()
      for report in reports where route < report.keyed.count { sum += report.keyed[route] }
      for (outcome, count) in [
        ("executed", sum.executed), ("replayed", sum.replayed &- sum.joined), ("joined", sum.joined),
        ("mismatched", sum.mismatched), ("in-use", sum.inUse), ("not-kept", sum.notKept),
        ("unavailable", sum.unavailable),
      ] {
        requests.add([(name: "route", value: plan.routes[route]), (name: "outcome", value: outcome)], Double(count))
      }
    }
    return [up, requests]
  }

  func isStateUp(_ reports: [ProxyServer.LoopReport]) -> Bool { reports.allSatisfy { $0.hasState == true } }
}
