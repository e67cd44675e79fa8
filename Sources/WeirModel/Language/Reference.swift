// SPDX-License-Identifier: Apache-2.0

extension Language {
  /// The reference page of the language, `docs/file/reference.md`: made from the keys; a test holds the file to it.
  package static var reference: String {
    var page = """
      # Reference of the Weir file

      Made from `Sources/WeirModel/Keys`; `WEIR_RECORD=1 swift test --filter SchemaTests` writes it anew. A key that only `simulate` reads is marked with
      *sim*. A scalar in the place of a map is the short form that the section names.


      """
    for section in sections {
      page += "## \(section.name)\n\n\(section.doc)\n\n"
      if let short = section.short { page += "Short form: a value alone is `\(short.name)`.\n\n" }
      for word in section.alone {
        page +=
          "The word `\(word.example)` alone switches it \(word.example == "true" ? "on, with the defaults" : "off").\n\n"
      }
      page += "| key | is | default | |\n|---|---|---|---|\n"
      for key in section.keys where !key.isLater { page += row(key) }
      let later = section.keys.filter(\.isLater).map { "`\($0.name)`" }
      if !later.isEmpty { page += "\nNot supported by this version: \(later.joined(separator: ", ")).\n" }
      page += "\n"
    }
    while page.hasSuffix("\n\n") { page.removeLast() }
    return page
  }

  private static func row(_ key: Key) -> String {
    var standard = key.isRequired ? "*required*" : ""
    if let written = key.standard {
      standard = [written.text.map { "`\($0)`" }, written.rule].compactMap { $0 }.joined(separator: ": ")
    }
    var doc = key.doc
    if key.isModelOnly { doc += " *sim*" }
    for (verb, why) in key.refused { doc += " `weir \(verb.rawValue)` refuses it: \(why)." }
    return "| `\(key.name)` | \(kind(key.shape)) | \(standard) | \(doc) |\n"
  }

  private static func kind(_ shape: Shape) -> String {
    var kinds: [String] = []
    func add(_ kind: String) {
      if !kinds.contains(kind) { kinds.append(kind) }
    }
    for scalar in shape.scalars where !scalar.isLater {
      add(
        scalar.choices.isEmpty
          ? "\(scalar.words) (`\(scalar.example)`)" : scalar.choices.map { "`\($0)`" }.joined(separator: ", "))
    }
    if let list = shape.list { add(shape.isSection ? "a list of them" : "list of \(kind(list.item()))") }
    switch shape.map {
    case .section(let section): add("[\(section().name)](#\(section().name))")
    case .named(let names, let value): add("map: name of \(names.what) → \(kind(value()))")
    case nil: break
    }
    return kinds.joined(separator: " or ")
  }
}
