// SPDX-License-Identifier: Apache-2.0
import WeirModel
import WeirPlatform
import WeirProcesses
import WeirProxy

/// UNIX sockets of programs: seen before a program is ready, or never used for this start of it.
///
/// So a program that knows nothing of `WEIR_SOCKET` is reached by its port as ever, and one that listens there is never asked
/// over its port, where it may not listen at all.
extension Plane {
  /// Those that have started and are not ready yet.
  func lookForSockets() async {
    for service in states.indices where plan.isStarted(service) {
      for instance in states[service].indices where states[service][instance].pid != 0 {
        if states[service][instance].isReady { continue }
        await lookForSocket(Supervisor.Reference(service: service, instance: instance + 1))
      }
    }
  }

  /// Uses the instance's socket from now on if it listens there.
  func lookForSocket(_ reference: Supervisor.Reference) async {
    guard plan.isStarted(reference.service), states[reference].pid != 0, states[reference].socket.isEmpty,
      let sockets = programs?.sockets, let path = programs?.socket(of: reference), sockets.answers(path)
    else { return }
    states[reference].socket = path
    states[reference].address = "unix:\(path)"
    await server?.setAddress(.unix(path: path), service: reference.service, instance: reference.instance - 1)
  }
}
