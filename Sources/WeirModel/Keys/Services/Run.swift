// SPDX-License-Identifier: Apache-2.0

/// What Weir starts for a service: argv by POSIX quoting, no shell.
package struct Program: Sendable, Equatable {
  /// As written, before quoting and `$NAME` are resolved: `weir-example web --port $PORT`.
  package var command: Value<Text>
  package var environment: [Named<Text>] = []
  /// What must be ready before it is started (beside what it calls).
  package var after: [Value<Component>] = []
  /// Working directory, relative to the file; the file's own unless said.
  package var directory = RunKeys.directory.initial
}

/// `run:`.
enum RunKeys {
  static let command = ScalarKey(
    "command", .reference("a command", example: "api --port $PORT"), required: true,
    "The program and its arguments, quoted as in a shell but run without one; `$PORT`, `$WEIR_URL` and "
      + "`$NOTES_DB_URL` are put in.", alias: ["cmd", "argv", "exec"])
  private static let variable = ScalarType<Text>.reference("text", example: "info")
  static let env = Key(
    "env", .named(.variables, .scalar(variable)),
    "Variables of its environment; it gets no others but `PATH`, `HOME`, `LANG`, `TZ` and those that Weir makes.",
    alias: ["environment"])
  static let after = Key(
    "after", .list(.scalar(.name)), "What must be ready before it starts, beside what it calls.",
    alias: ["depends-on"])
  static let directory = ScalarKey(
    "directory", .text("a folder", example: "api"), default: ".", rule: "run.directory (the file's own)",
    "Where it runs, relative to the file.", alias: ["cwd", "dir", "workdir", "working-directory"])

  static let part = Part<Program>(
    "run", "A program that Weir starts.", short: command.key,
    start: { layers, _ in layers.value(command).map { Program(command: $0) } },
    [
      .value(command, \.command),
      .named(env, variable, \.environment),
      .custom(
        after,
        read: { layers, resolver, program in
          for name in Fields.values(layers.node(after), ScalarType<String>.name) {
            if let component = resolver.component(name) { program.after.append(name.map { _ in component }) }
          }
        },
        explain: { program, design in
          let names = program.after.map { (design.name(of: $0.value).text, $0.origin) }
          return names.isEmpty ? [] : [.list(after, names)]
        }),
      .value(directory, \.directory),
    ])
  static let section = part.section
}

extension Shape.Names {
  static let variables = Shape.Names(
    what: "a variable",
    problem: { text in
      let fine =
        !text.isEmpty && text.utf8.first.map { !(48...57).contains($0) } ?? false
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || $0 == 95
        }
      if !fine { return "a variable has letters, digits and _, and does not begin with a digit" }
      return ["PORT", "WEIR_SOCKET", "WEIR_URL"].contains(text) ? "\(text) is set by Weir" : nil
    }, pattern: "^[A-Za-z_][A-Za-z0-9_]*$")
}
