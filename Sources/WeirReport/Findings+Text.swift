// SPDX-License-Identifier: Apache-2.0
package import WeirCheck
package import WeirModel

/// The findings of `weir check` as people read them.
package struct FindingsText: Sendable {
  package var sources: [Source]

  package init(_ sources: [Source]) { self.sources = sources }

  /// Those that are open, then a line that sums up; accepted ones are counted only.
  package func text(_ findings: [Finding]) -> String {
    let open = findings.filter { !$0.isAccepted }
    // A line may be quoted for another finding than the one about its secret.
    var masked = self
    masked.sources = sources.map { source in
      source.hiding(findings.filter { $0.place.file == source.file }.compactMap(\.hidden))
    }
    let parts = open.map(masked.one)
    return (parts.isEmpty ? "" : parts.joined(separator: "\n") + "\n") + FindingsText.summary(findings) + "\n"
  }

  private func one(_ finding: Finding) -> String {
    var text = DiagnosticText(sources).text(finding.diagnostic)
    // What cannot be accepted has no such line to carry the pointer.
    if finding.diagnostic.accept == nil { text += "  more    weir explain \(finding.rule)\n" }
    return text
  }

  /// `1 error, 2 warnings; 1 accepted`, or `no findings`.
  package static func summary(_ findings: [Finding]) -> String {
    let open = findings.filter { !$0.isAccepted }.map(\.diagnostic)
    let accepted = findings.count - open.count
    return (open.isEmpty ? "no findings" : DiagnosticText.counts(open))
      + (accepted == 0 ? "" : "; \(accepted) accepted")
  }
}

extension Source {
  /// The same text with `*` for each byte that must not be shown; lines and offsets stay as they are.
  fileprivate func hiding(_ spots: [Spot]) -> Source {
    if spots.isEmpty { return self }
    var bytes = Array(text.utf8)
    for spot in spots {
      let range = spot.bytes.clamped(to: bytes.indices)
      bytes.replaceSubrange(range, with: Secret.masked(bytes[range]))
    }
    return Source(file: file, text: String(decoding: bytes, as: UTF8.self))
  }
}
