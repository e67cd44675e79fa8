// SPDX-License-Identifier: Apache-2.0

import Foundation
import WeirPlatform
import WeirProcesses

/// What a test wants to run; shared by the test and the fixture through a file.
struct Fixture: Codable {
  struct Service: Codable {
    var name: String
    var instances = 1
    var needs: [String] = []
    var argv: [String]
    var environment: [ProgramSpec.Variable] = []
    var directory = "/"
    var stopGrace = Duration.seconds(5)
    /// Ready when this file exists; without one as soon as it runs.
    var readyFile: String?
  }

  var state: String
  var events: String
  var listen: [ListenSpec] = []
  var services: [Service] = []
  var drainLimit = Duration.seconds(5)
  var logBytesMax = 10 << 20
  /// The plane's exit code after a drain.
  var planeCode: Int32 = 0
  /// The plane ends at once with this code.
  var planeExits: Int32?
  var planeIgnoresTerm = false
  var neverReady = false
  /// When this file exists the plane asks for an upgrade to the binary that it names, and removes it.
  var upgradeFile: String?
  /// A plane that is to take over says that it cannot.
  var standbyCannot = false
  /// Another program in the plane's place.
  var planeArgv: [String]?

  static func read(_ path: String) -> Fixture? {
    guard let bytes = try? Files.bytes(path) else { return nil }
    return try? JSONDecoder().decode(Fixture.self, from: Data(bytes))
  }
}
