// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirPlatform
import WeirStorage

/// `weir state …`: the state on disk, whether the system runs or not.
///
/// `weir state FOLDER` is the state process itself, which the keeper starts.
struct StateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "state", abstract: "Copy the state (queues, logs, sagas), put a copy back, look what is in it.",
    subcommands: [Backup.self, Restore.self, Check.self, Serve.self], defaultSubcommand: Serve.self)

  /// Whose state.
  struct Place: ParsableArguments {
    @Option(help: "The system's file.", completion: .file(extensions: ["yaml", "yml"])) var file = "weir.yaml"
    @Option(help: "The state folder, where it is not beside the file.") var state: String?

    /// The file is not read when the folder is said: on a new machine it may not be there yet.
    func folder() throws -> String {
      guard let state else { return try LoadedFile(path: file).statePath(nil) }
      return Files.resolve(state, in: (try? Files.currentFolder()) ?? "/")
    }
  }

  static func doing(_ body: () throws -> Void) throws {
    do { try body() } catch let error as StateStoreError {
      Output.note("weir: \(error)")
      throw ExitCode.findings
    }
  }

  struct Backup: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A copy of the state as it is now, also while it runs.")
    @Argument(help: "The copy's file, or the folder to put it in.") var to: String
    @OptionGroup var place: Place

    func run() throws {
      let folder = try place.folder()
      try StateCommand.doing {
        let name = (folder as NSString).lastPathComponent
        let copy = try StateProcess.copy(folder, system: name, to: to)
        Output.result("\(copy.path): \(copy.bytes) bytes")
      }
    }
  }

  struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Put a copy in the place of the state, which must not run; what was there is kept beside it.")
    @Argument(help: "The copy.", completion: .file(extensions: ["sqlite"])) var copy: String
    @OptionGroup var place: Place

    func run() throws {
      let folder = try place.folder()
      try StateCommand.doing {
        let before = try StateProcess.restore(folder, from: copy)
        Output.result("\(StateProcess.databasePath(folder)) is what \(copy) was")
        if let before { Output.note("what was there before: \(before)") }
      }
    }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Whether the state, or a copy, is whole, and what is in it.")
    @Argument(help: "A copy; without it the state itself.", completion: .file(extensions: ["sqlite"])) var copy: String?
    @OptionGroup var place: Place

    func run() throws {
      let path = try copy ?? StateProcess.databasePath(place.folder())
      try StateCommand.doing { Output.result(try StateFacts(of: path).text) }
    }
  }

  struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "", shouldDisplay: false)
    @Argument var folder: String

    func run() throws { throw ExitCode(StateProcess.run(folder: folder)) }
  }
}
