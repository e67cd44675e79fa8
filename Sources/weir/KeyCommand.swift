// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirIdentity

/// `weir key`: keys for callers, and what stands of them in the file's lists.
struct KeyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "Make keys for callers, and the lines of the lists that identities read.",
    subcommands: [New.self, Hash.self])

  /// `weir key new acme`.
  struct New: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "new",
      abstract: "Make a key: to standard error for its owner, its line for the list to standard output.")

    @Argument(help: "The caller's name.")
    var name: String

    func run() {
      let key = APIKeys.make()
      FileHandle.standardError.write(Data("key of \(name), shown once: \(key)\n".utf8))
      Output.result("\(name) \(APIKeys.proof(of: key))\n")
    }
  }

  /// `weir key hash < key`.
  struct Hash: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "hash", abstract: "Read a key or password from standard input and print what stands in the list.")

    @Flag(help: "A password that somebody has chosen: a slow, salted hash.")
    var password = false

    func run() throws {
      // Not an argument: those can be seen by everybody on the machine.
      guard let text = readLine(strippingNewline: true), !text.isEmpty else {
        throw ValidationError("nothing came by standard input: weir key hash < key")
      }
      if password {
        guard let proof = Passwords.proof(of: text) else { throw ExitCode.ours }
        Output.result("\(proof)\n")
        return
      }
      if text.utf8.count < 20 {
        throw ValidationError(
          "a key with fewer than 20 characters could be guessed: make one by weir key new, or use --password")
      }
      Output.result("\(APIKeys.proof(of: text))\n")
    }
  }
}
