// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Finds the file that a command's first word means.
public enum ProgramFile {
  /// A word with a slash is a file, seen from `directory`; any other is looked for in the folders of `path` (as in
  /// `$PATH`; relative ones are seen from `directory`), as execvp(3) does.
  public static func find(_ word: String, directory: String, path: String) throws(ProgramFileError) -> String {
    if word.isEmpty { throw .empty }
    if word.contains("/") {
      let file = Files.resolve(word, in: directory)
      switch judge(file) {
      case .good: return file
      case .missing: throw .missing(file: file)
      case .folder: throw .folder(file: file)
      case .notExecutable: throw .notExecutable(file: file)
      }
    }
    var near: String?
    let folders = path.split(separator: ":", omittingEmptySubsequences: false).map { $0.isEmpty ? "." : String($0) }
    for folder in folders {
      let file = Files.resolve(word, in: Files.resolve(folder, in: directory))
      switch judge(file) {
      case .good: return file
      case .notExecutable: near = near ?? file
      case .missing, .folder: continue
      }
    }
    if let near { throw .notExecutable(file: near) }
    let local = Files.resolve(word, in: directory)
    throw .notInPath(word: word, folders: folders, local: judge(local) == .good ? "./" + word : nil)
  }

  enum Verdict { case good, missing, folder, notExecutable }

  static func judge(_ file: String) -> Verdict {
    if Files.isFolder(file) { return .folder }
    if !Files.exists(file) { return .missing }
    return access(file, X_OK) == 0 ? .good : .notExecutable
  }
}

/// Why a command's program cannot be found.
public enum ProgramFileError: Error, Sendable, Equatable, CustomStringConvertible {
  case empty
  case missing(file: String)
  case folder(file: String)
  case notExecutable(file: String)
  /// `local`: how to name the program of that name that lies beside the file.
  case notInPath(word: String, folders: [String], local: String?)

  public var description: String {
    switch self {
    case .empty: "the command is empty"
    case .missing(let file): "there is no file \(file)"
    case .folder(let file): "\(file) is a folder, not a program"
    case .notExecutable(let file): "\(file) is not executable (chmod +x \(file))"
    case .notInPath(let word, let folders, let local):
      "'\(word)' is in none of the folders of PATH (\(folders.joined(separator: ":")))"
        + (local.map { "; did you mean \($0)?" } ?? "")
    }
  }
}
