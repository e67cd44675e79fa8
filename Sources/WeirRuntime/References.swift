// SPDX-License-Identifier: Apache-2.0
import WeirModel
import WeirPlatform

/// `$(env:NAME)`, `$(secret:name)` and `$(file:path)`: read when something starts, never kept in a file or a log.
enum References {
  /// The text with every reference replaced; says which one is missing, never what another one holds.
  static func resolve(_ text: Text, folder: String) throws(PlaneError) -> String {
    var whole = ""
    for part in text.parts {
      switch part {
      case .literal(let literal): whole += literal
      case .env(let name):
        guard let value = OwnEnvironment.value(name) else {
          throw PlaneError("$(env:\(name)) is not set in the environment of weir run")
        }
        whole += value
      case .file(let path): whole += try contents(of: Files.resolve(path, in: folder), as: "$(file:\(path))")
      case .secret(let name): whole += try secret(name, folder: folder)
      }
    }
    return whole
  }

  /// `WEIR_SECRET_<NAME>` of the environment first, so that a deployment can bring its own; then `secrets/<name>` beside
  /// the file.
  private static func secret(_ name: String, folder: String) throws(PlaneError) -> String {
    let variable = "WEIR_SECRET_" + name.uppercased().map { $0 == "-" || $0 == "." ? "_" : String($0) }.joined()
    if let value = OwnEnvironment.value(variable) { return value }
    let path = Files.resolve("secrets/" + name, in: folder)
    guard Files.exists(path) else {
      throw PlaneError("$(secret:\(name)) is found neither as \(variable) in the environment nor at \(path)")
    }
    return try contents(of: path, as: "$(secret:\(name))")
  }

  /// A file's text without the line feed at its end, which editors add.
  private static func contents(of path: String, as reference: String) throws(PlaneError) -> String {
    do {
      let text = try Files.text(path)
      return text.hasSuffix("\n") ? String(text.dropLast()) : text
    } catch {
      throw PlaneError("\(reference) cannot be read: \(error.reason)")
    }
  }
}
