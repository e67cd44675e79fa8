// SPDX-License-Identifier: Apache-2.0
package import WeirModel

/// Diagnostics as people read them: where, what, the line with what is meant underlined, why, what to do.
package struct DiagnosticText: Sendable {
  /// The files that diagnostics speak of.
  package var sources: [Source]
  /// Lines longer than this are cut around what is meant.
  package var width = 120

  package init(_ sources: [Source]) { self.sources = sources }

  /// All of them, with an empty line between two and a line of counts at the end; empty for none.
  package func text(_ diagnostics: [Diagnostic]) -> String {
    if diagnostics.isEmpty { return "" }
    let parts = diagnostics.map(text)
    return parts.joined(separator: "\n") + "\n" + DiagnosticText.counts(diagnostics) + "\n"
  }

  /// `2 errors, 1 warning`.
  package static func counts(_ diagnostics: [Diagnostic]) -> String {
    let severities: [(Diagnostic.Severity, String)] = [(.error, "error"), (.warning, "warning"), (.note, "note")]
    return severities.compactMap { severity, word in
      let count = diagnostics.count { $0.severity == severity }
      return count == 0 ? nil : "\(count) \(word)\(count == 1 ? "" : "s")"
    }.joined(separator: ", ")
  }

  package func text(_ d: Diagnostic) -> String {
    var out = "\(d.file):\(d.line):\(d.column): \(d.severity.rawValue): \(d.message)  [\(d.id)]\n"
    out += quote(d)
    for related in d.related {
      let spot = related.place.head
      out += field("see", "\(related.place.file):\(spot.line):\(spot.column): \(related.message)")
    }
    if let why = d.why { out += field("why", why) }
    if let mend = d.mend { out += field("mend", mend) }
    if let accept = d.accept { out += field("accept", "\(accept)     more: weir explain \(d.id)") }
    return out
  }

  private func field(_ name: String, _ value: String) -> String {
    let lines = value.split(separator: "\n", omittingEmptySubsequences: false)
    return lines.enumerated().map { index, line in
      index == 0 ? "  \(name)\(String(repeating: " ", count: 8 - name.count))\(line)\n" : "          \(line)\n"
    }.joined()
  }

  /// The line, and below it what is meant: `^~~~`.
  private func quote(_ d: Diagnostic) -> String {
    guard let source = sources.first(where: { $0.file == d.file }), let line = source.line(d.line),
      !source.text.isEmpty
    else { return "" }
    // A tab is one column for an editor and several on a screen: shown as one space, the marks stand below it.
    var scalars = line.unicodeScalars.map { $0 == "\t" || $0.value < 0x20 ? " " : $0 }
    let start = min(max(0, d.column - 1), scalars.count)
    let lineEnd = d.line < source.lineStarts.count ? source.lineStarts[d.line] - 1 : source.text.utf8.count
    let bytesOnLine = min(d.spot.bytes.upperBound, lineEnd) - d.spot.bytes.lowerBound
    var length = 0
    var bytes = 0
    for scalar in scalars[start...] where bytes < bytesOnLine {
      bytes += String(scalar).utf8.count
      length += 1
    }
    var shift = 0
    if scalars.count > width {
      shift = max(0, min(start - width / 4, scalars.count - width))
      scalars = Array(scalars[shift..<min(scalars.count, shift + width)])
      if shift > 0 { scalars.replaceSubrange(0..<1, with: ["…"]) }
      length = min(length, scalars.count - (start - shift))
    }
    let number = String(d.line)
    let gutter = String(repeating: " ", count: max(0, 5 - number.count)) + number
    var text = String(String.UnicodeScalarView(scalars))
    while text.last == " " { text.removeLast() }
    var marks = String(repeating: " ", count: start - shift) + "^"
    if length > 1 { marks += String(repeating: "~", count: length - 1) }
    if let caret = d.caret { marks += " \(caret)" }
    return "\(gutter) | \(text)\n      | \(marks)\n"
  }
}
