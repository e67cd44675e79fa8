// SPDX-License-Identifier: Apache-2.0
import Foundation
package import WeirModel
import WeirPlatform
import WeirProcesses

/// The foreground half of `weir run`: the keeper, with this plan's sockets, and this binary as the plane.
package enum Launch {
  /// Runs until everything has ended; the exit code of the whole run.
  ///
  /// Call it on the main thread, before any other runs.
  package static func run(_ settings: RunSettings, plan: Plan) -> Int32 {
    guard let executable = Files.ownExecutable else {
      report("weir: cannot find this program's own file, which the plane is started from")
      return 3
    }
    guard let encoded = try? JSONEncoder().encode(settings) else { return 3 }
    var options = Keeper.Options(
      planeArgv: [executable, "plane", String(decoding: encoded, as: UTF8.self)], statePath: settings.state)
    options.listen = sockets(settings, plan: plan)
    // The plane's own limit comes first; the keeper's is for a plane that hangs.
    options.drainLimit = .seconds(settings.drainSeconds + 2)
    return Keeper.run(options)
  }

  /// Goes on with what the keeper of another binary has handed over, if one has; call it first of all.
  package static func resume() -> Int32? { Keeper.resume() }

  /// The sockets that outlive a plane: the gateway's, and the loopback listener for calls between services.
  static func sockets(_ settings: RunSettings, plan: Plan) -> [ListenSpec] {
    let gateway = (plan.gateway?.listeners ?? []).enumerated().map { i, listener in
      ListenSpec(
        name: SocketName.gateway(i), address: listener.host, port: UInt16(listener.port), count: settings.loops)
    }
    return gateway + [ListenSpec(name: SocketName.calls, address: "127.0.0.1", port: 0, count: settings.loops)]
  }

  static func report(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

/// How keeper and plane name the sockets.
enum SocketName {
  static let calls = "calls"
  /// One that came with a reload.
  static func gateway(_ listener: Plan.Listener) -> String { "gateway at \(listener.host):\(listener.port)" }
  static func gateway(_ index: Int) -> String { index == 0 ? "gateway" : "gateway-\(index + 1)" }
}
