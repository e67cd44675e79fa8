// SPDX-License-Identifier: Apache-2.0
package import WeirCheck
internal import WeirModel

/// What a rule is, as people read it: `weir explain RULE`.
package enum RuleText {
  package static func page(_ rule: RuleInfo) -> String {
    var page = "\(rule.id) (\(rule.severity.rawValue)): \(rule.title)\n"
    let parts = [
      ("why", rule.why), ("looks at", rule.detection), ("formula", rule.formula), ("mend", rule.mend),
      ("not wrong", rule.falsePositives),
    ]
    for (name, text) in parts { page += field(name, text) }
    if rule.isAcceptable {
      page += field(
        "accept",
        "accept:\n  - { rule: \(rule.id), place: services.…, because: \"…\", owner: \"…\", until: \"2027-06-30\" }")
    } else {
      page += field("accept", "This cannot be accepted.")
    }
    return page + "\nMore, with an example: docs/rules/\(rule.id).md\n"
  }

  /// Wrapped at 100 columns behind the name.
  private static func field(_ name: String, _ text: String) -> String {
    let indent = String(repeating: " ", count: 12)
    var lines: [String] = []
    for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if paragraph.count <= 88 {
        lines.append(String(paragraph))
        continue
      }
      var line = ""
      for word in paragraph.split(separator: " ") {
        if !line.isEmpty && line.count + 1 + word.count > 88 {
          lines.append(line)
          line = ""
        }
        line += (line.isEmpty ? "" : " ") + word
      }
      lines.append(line)
    }
    let first = "  \(name)" + String(repeating: " ", count: max(1, 10 - name.count))
    return "\n" + first + lines.joined(separator: "\n" + indent) + "\n"
  }
}
