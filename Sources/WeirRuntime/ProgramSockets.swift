// SPDX-License-Identifier: Apache-2.0
import WeirPlatform

/// The UNIX sockets that programs may listen on beside their ports (`WEIR_SOCKET`): where they are, who answers there.
///
/// Files lie in `s/` of the state folder, which is 0700; their names are short, for a socket's path has 107 bytes at most
/// (`sun_path` of Linux). Where the state folder's own path leaves no room, nothing is offered, and ports do. They go by the
/// service's name: a reload may give it another index, and its programs keep their sockets.
struct ProgramSockets: Sendable {
  let folder: String

  init(state: String) { folder = state + "/s" }

  /// `<state>/s/api-1`: the service and the instance, counted from 1; a long name is shortened to a number.
  func path(service: String, instance: Int) -> String? {
    let path = "\(folder)/\(ProgramSockets.short(service))-\(instance)"
    return path.utf8.count <= Listening.unixPathMax ? path : nil
  }

  /// A name of up to 12 bytes as it is; a longer one as its FNV-1a of 64 bits behind a point, which no name has.
  private static func short(_ name: String) -> String {
    if name.utf8.count <= 12 { return name }
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return "." + String(hash, radix: 36)
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
