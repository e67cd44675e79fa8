// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirPlatform

/// The words of a command, as a POSIX shell makes them.
struct CommandLineWordsTests {
  static let variables = ["PORT": "8080", "WORDS": "two words", "EMPTY": "", "QUOTE": "a\"b'c$PORT"]

  static func split(_ text: String) throws(QuotingError) -> [String] {
    try CommandLineWords.split(text) { variables[$0] }
  }

  @Test(
    "splits, quotes, escapes and expands",
    arguments: [
      ("api --port $PORT", ["api", "--port", "8080"]),
      ("  a\tb \n c  ", ["a", "b", "c"]),
      ("'one word' two", ["one word", "two"]),
      ("\"one word\" two", ["one word", "two"]),
      ("a'b'\"c\"d", ["abcd"]),
      ("'' \"\" x", ["", "", "x"]),
      ("'$PORT' \"$PORT\" ${PORT}1 $PORT-x", ["$PORT", "8080", "80801", "8080-x"]),
      // No field splitting, no second reading of a value.
      ("$WORDS", ["two words"]), ("x$EMPTY", ["x"]), ("$EMPTY", [""]), ("\"$QUOTE\"", ["a\"b'c$PORT"]),
      // A backslash outside quotes escapes anything, inside only $ ` " \ and newline.
      ("a\\ b \\$PORT \\\"", ["a b", "$PORT", "\""]),
      ("\"a\\nb \\\\ \\\" \\$PORT\"", ["a\\nb \\ \" $PORT"]),
      ("a\\\nb", ["ab"]), ("\"a\\\nb\"", ["ab"]),
      ("a$ $1 $", ["a$", "$1", "$"]),
      ("sh -c 'a | b > c; d && e'", ["sh", "-c", "a | b > c; d && e"]),
      ("a#b", ["a#b"]), ("é '日本'", ["é", "日本"]),
      ("a=b *.txt ~", ["a=b", "*.txt", "~"]),
    ])
  func words(text: String, expected: [String]) throws {
    #expect(try Self.split(text) == expected)
  }

  @Test(
    "refuses what is broken or needs a shell",
    arguments: [
      ("", QuotingError.empty), ("   ", .empty),
      ("a 'b", .unclosed("'", at: 2)), ("a \"b", .unclosed("\"", at: 2)), ("a\\", .unclosed("\\", at: 1)),
      ("a $NOPE", .unset("NOPE", at: 2)), ("\"${NOPE}\"", .unset("NOPE", at: 1)),
      ("${", .badExpansion(at: 0)), ("${PORT", .badExpansion(at: 0)), ("${PORT:-1}", .badExpansion(at: 0)),
      ("a | b", .needsShell("|", at: 2)), ("a && b", .needsShell("&", at: 2)), ("a; b", .needsShell(";", at: 1)),
      ("a > b", .needsShell(">", at: 2)), ("a < b", .needsShell("<", at: 2)), ("(a)", .needsShell("(", at: 0)),
      ("a `b`", .needsShell("`", at: 2)), ("a $(b)", .needsShell("$(", at: 2)), ("\"$(b)\"", .needsShell("$(", at: 1)),
      ("a # b", .needsShell("#", at: 2)),
    ])
  func refusals(text: String, expected: QuotingError) {
    #expect(throws: expected) { try Self.split(text) }
  }

  /// The same words as the system's shell, on what both understand.
  @Test(
    "agrees with /bin/sh",
    arguments: [
      "a b", "'a b' c", "a\\ b", "\"a\\\\b\" 'c\\d'", "\"it's\" 'say \"x\"'", "a''b", "''", "\"a\\`b\"", "x\\\\y",
      "\"\\a\"",
    ])
  func agreesWithShell(text: String) throws {
    let (read, write) = try Descriptor.pipe()
    var spawn = Spawn(
      path: "/bin/sh", arguments: ["sh", "-c", "printf '%s\\001' \(text)"],
      environment: [(name: "PATH", value: "/usr/bin:/bin")])
    spawn.descriptors = [(write, 1)]
    let pid = try spawn.start()
    guard case .ended(_, .code(0)) = Children.reap(pid: pid, waiting: true) else {
      Issue.record("sh failed")
      return
    }
    let bytes = try read.read(upTo: 4096)
    let shell = bytes.split(separator: 1, omittingEmptySubsequences: false).dropLast()
      .map { String(decoding: $0, as: UTF8.self) }
    #expect(try Self.split(text) == shell)
  }
}
