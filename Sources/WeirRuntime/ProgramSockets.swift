// SPDX-License-Identifier: Apache-2.0
import WeirPlatform

/// The UNIX sockets that programs may listen on beside their ports (`WEIR_SOCKET`): where they are, who answers there.
///
/// Files lie in `s/` of the state folder, which is 0700; their names are numbers, for a socket's path has 107 bytes at most
/// (`sun_path` of Linux). Where the state folder's own path leaves no room, nothing is offered, and ports do.
struct ProgramSockets: Sendable {
  let folder: String

  init(state: String) { folder = state + "/s" }

  /// `<state>/s/2-1`: the service's index and the instance, counted from 1.
  func path(service: Int, instance: Int) -> String? {
    let path = "\(folder)/\(service)-\(instance)"
    return path.utf8.count <= Listening.unixPathMax ? path : nil
  }

  /// Takes away what an ended program left; a file that is no socket, or cannot be removed, is the program's to say.
  func clean(_ path: String) {
    if Files.exists(path) { try? Files.remove(path) }
  }

  /// Whether a program takes connections there now; its file is closed to others (0600) then.
  func answers(_ path: String) -> Bool {
    guard Files.exists(path), (try? Connecting.unix(path: path)) != nil else { return false }
    // The folder is ours alone already; a program's umask may have left the file open. It may be gone by now.
    try? Files.setPermissions(path, 0o600)
    return true
  }
}
