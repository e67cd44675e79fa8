// SPDX-License-Identifier: Apache-2.0

/// What the user said on the command line of `weir run`; handed from the keeper to the plane as it is.
package struct RunSettings: Sendable, Codable, Equatable {
  /// Where the access log goes.
  package enum AccessLog: Sendable, Codable, Equatable {
    case off
    /// Lines on standard output, among those of the programs.
    case output
    /// `logs/access.log` in the state folder, rotated.
    case file
  }

  /// The admin listener's port on loopback.
  package enum Admin: Sendable, Codable, Equatable {
    /// No TCP listener: only the UNIX socket in the state folder.
    case off
    /// 9180, or a free one where that is taken.
    case usual
    /// This one, or the run fails.
    case port(Int)
  }

  /// The file, absolute.
  package var file: String
  /// The state folder, absolute.
  package var state: String
  package var loops = 1
  package var admin = Admin.usual
  package var accessLog = AccessLog.file
  /// Draw the live view instead of lines.
  package var live = false
  package var colour = false
  /// End when a program has never become ready after repeated starts.
  package var failFast = false
  /// Read the file again when it has changed, without being told.
  package var watch = true
  /// How long requests may finish after the end was asked for, in seconds.
  package var drainSeconds = 30.0
  /// The scenario whose faults on messages are played; nil: none is.
  package var scenario: String?
  /// When it began: wall time in milliseconds.
  package var scenarioBegan: Int64 = 0

  package init(file: String, state: String) {
    self.file = file
    self.state = state
  }

  /// What is missing has its default: in an upgrade one version writes it and another reads it.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      file: try values.decode(String.self, forKey: .file), state: try values.decode(String.self, forKey: .state))
    loops = try values.decodeIfPresent(Int.self, forKey: .loops) ?? loops
    admin = try values.decodeIfPresent(Admin.self, forKey: .admin) ?? admin
    accessLog = try values.decodeIfPresent(AccessLog.self, forKey: .accessLog) ?? accessLog
    live = try values.decodeIfPresent(Bool.self, forKey: .live) ?? live
    colour = try values.decodeIfPresent(Bool.self, forKey: .colour) ?? colour
    failFast = try values.decodeIfPresent(Bool.self, forKey: .failFast) ?? failFast
    watch = try values.decodeIfPresent(Bool.self, forKey: .watch) ?? watch
    drainSeconds = try values.decodeIfPresent(Double.self, forKey: .drainSeconds) ?? drainSeconds
    scenario = try values.decodeIfPresent(String.self, forKey: .scenario)
    scenarioBegan = try values.decodeIfPresent(Int64.self, forKey: .scenarioBegan) ?? scenarioBegan
  }
}
