// SPDX-License-Identifier: Apache-2.0

package import WeirPlatform

/// One instance of a program, as it is to be started.
package struct ProgramSpec: Sendable, Hashable, Codable {
  /// The service it is an instance of.
  package var name: String
  /// Which one, counted from 1.
  package var instance: Int
  /// The words of its command; the first is looked up in `PATH`, or is a path seen from `directory`.
  package var argv: [String]
  /// All of its environment.
  package var environment: [Variable]
  /// Where it runs.
  package var directory: String
  /// How long it may take to end after TERM before it is killed.
  package var stopGrace: Duration
  /// The port it was told to listen on; the keeper only remembers it for the plane.
  package var port: UInt16?
  /// A process of Weir's own: when it ends unasked the keeper starts it again, without asking the plane.
  package var isKept = false

  package struct Variable: Sendable, Hashable, Codable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  package init(
    name: String, instance: Int, argv: [String], environment: [Variable], directory: String,
    stopGrace: Duration = ProgramSpec.defaultStopGrace, port: UInt16? = nil
  ) {
    self.name = name
    self.instance = instance
    self.argv = argv
    self.environment = environment
    self.directory = directory
    self.stopGrace = stopGrace
    self.port = port
  }

  /// Ten seconds, as `docker stop` (Compose Specification, `stop_grace_period`).
  package static let defaultStopGrace = Duration.seconds(10)

  /// The name people see: `api-1`.
  package var id: String { "\(name)-\(instance)" }
}

/// Sockets that the keeper opens and owns, so that they outlive a plane.
package struct ListenSpec: Sendable, Hashable, Codable {
  /// By which the plane knows them: `gateway`, `admin`.
  package var name: String
  /// As in ``Listening/tcp(address:port:count:)``; for `unix`, the path.
  package var address: String
  package var port: UInt16
  /// One a loop.
  package var count: Int
  package var isUnix: Bool

  package init(name: String, address: String, port: UInt16, count: Int = 1) {
    self.name = name
    self.address = address
    self.port = port
    self.count = count
    isUnix = false
  }

  package init(name: String, unixPath: String) {
    self.name = name
    address = unixPath
    port = 0
    count = 1
    isUnix = true
  }
}

/// The end of one run of a program.
package struct ExitRecord: Sendable, Hashable, Codable {
  package var pid: Int32
  package var exit: ProcessExit
  /// When it began and ended, on the monotonic clock of this machine, which all processes share.
  package var startedAt: Int64
  package var endedAt: Int64
  /// Whether the plane or the user had asked for it.
  package var asked: Bool

  package var upNanoseconds: Int64 { endedAt - startedAt }
}

/// What the keeper knows of a program.
package struct ProgramReport: Sendable, Hashable, Codable {
  package var spec: ProgramSpec
  /// Nil when it is not running.
  package var pid: Int32?
  /// The present run's beginning, on the monotonic clock, in nanoseconds; civil time for showing.
  package var startedAt: Int64
  package var startedAtWall: Int64
  /// The last runs, oldest first, at most ``exitsMax``.
  package var exits: [ExitRecord]
  /// How often it was started.
  package var starts: Int

  /// Ten tell a crash loop from a single crash; more would only make the message longer.
  package static let exitsMax = 10
}

/// Open sockets, as told to the plane; the descriptors travel with the message.
package struct SocketReport: Sendable, Hashable, Codable {
  package var spec: ListenSpec
  /// The port in use, also where the spec said 0.
  package var port: UInt16
  package var count: Int
}
