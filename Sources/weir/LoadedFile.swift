// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirModel
import WeirPlatform
import WeirProcesses
import WeirReport
import WeirRuntime

/// A Weir file as every verb begins with it.
struct LoadedFile {
  let path: String
  let design: Design
  let sources: [Source]

  /// Reads and resolves the file; prints every mistake and exits with 2 if there is one.
  init(path: String) throws {
    try self.init(path: path, format: .text)
  }

  init(path: String, format: OutputFormat) throws {
    self.path = path
    let result = ModelReader.read(path: path, files: .disk)
    guard let design = result.design else {
      LoadedFile.print(result.diagnostics, sources: result.sources, format: format)
      throw ExitCode.misuse
    }
    self.design = design
    sources = result.sources
  }

  /// Refuses what `verb` cannot honour yet, with its lines.
  func require(_ verb: Verb) throws {
    let refused = design.unsupported(for: verb)
    guard !refused.isEmpty else { return }
    LoadedFile.print(refused, sources: sources, format: .text)
    throw ExitCode.misuse
  }

  /// Diagnostics of a file that cannot be used: on standard error as text, on standard output as JSON.
  static func print(_ diagnostics: [Diagnostic], sources: [Source], format: OutputFormat) {
    switch format {
    case .text: Output.note(DiagnosticText(sources).text(diagnostics))
    case .json: Output.result(Diagnostic.json(diagnostics).rendered())
    }
  }

  /// The folder the file stands in, absolute.
  var folder: String { Files.parent(of: absolute) }

  var absolute: String {
    // Without a current folder nothing could have been read.
    Files.resolve(path, in: (try? Files.currentFolder()) ?? "/")
  }

  /// The state folder: beside the file, unless said otherwise.
  func statePath(_ given: String?) -> String {
    guard let given else { return StateFolder.defaultPath(system: design.system.value, fileFolder: folder) }
    return Files.resolve(given, in: (try? Files.currentFolder()) ?? "/")  // As above.
  }

  func statusClient(state: String?) -> StatusClient {
    StatusClient(system: design.system.value, statePath: statePath(state))
  }
}

extension StatusClient {
  /// Of the running system of a file.
  ///
  /// With its state folder known the file is not read: it may be wrong just now, and what runs is asked about.
  static func of(_ file: String, state: String?) throws -> StatusClient {
    if let state, FileManager.default.fileExists(atPath: state + "/admin.sock") {
      return StatusClient(system: (state as NSString).lastPathComponent, statePath: state)
    }
    return try LoadedFile(path: file).statusClient(state: state)
  }
}
