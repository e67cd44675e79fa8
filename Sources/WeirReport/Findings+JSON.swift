// SPDX-License-Identifier: Apache-2.0
package import WeirCheck
package import WeirModel

extension Finding {
  /// Findings for machines: `{ "schema": 1, "findings": […], "summary": {…} }`, accepted ones among them.
  package static func json(_ findings: [Finding]) -> JSONValue {
    func count(_ severity: Diagnostic.Severity) -> JSONValue {
      .int(findings.count { !$0.isAccepted && $0.severity == severity })
    }
    return .object([
      ("schema", .int(1)),
      ("findings", .array(findings.map(\.json))),
      (
        "summary",
        .object([
          ("errors", count(.error)), ("warnings", count(.warning)), ("notes", count(.note)),
          ("accepted", .int(findings.count { $0.isAccepted })),
        ])
      ),
    ])
  }

  /// One finding; what it does not have is left out.
  ///
  /// Lines and columns count from 1, bytes from 0.
  package var json: JSONValue {
    let d = diagnostic
    var members: [(String, JSONValue)] = [
      ("rule", .string(rule)), ("severity", .string(severity.rawValue)), ("file", .string(d.file)),
      ("line", .int(d.line)), ("column", .int(d.column)),
      ("bytes", .array([.int(d.spot.bytes.lowerBound), .int(d.spot.bytes.upperBound)])), ("path", .string(d.path)),
      ("message", .string(d.message)),
    ]
    for (name, text) in [("caret", d.caret), ("why", d.why), ("mend", d.mend), ("accept", d.accept)] {
      if let text { members.append((name, .string(text))) }
    }
    members.append(("formula", .string(formula)))
    members.append(("inputs", .array(inputs.map(Finding.json))))
    members.append(("result", .string(result)))
    if !d.related.isEmpty {
      members.append(
        ("related", .array(d.related.map { .object([("message", .string($0.message))] + Finding.location($0.place)) })))
    }
    if let acceptedBy {
      var accepted: [(String, JSONValue)] = [("line", .int(acceptedBy.place.line))]
      if let because = acceptedBy.because { accepted.append(("because", .string(because.value))) }
      if let owner = acceptedBy.owner { accepted.append(("owner", .string(owner.value))) }
      if let until = acceptedBy.until { accepted.append(("until", .string(until.value.text))) }
      members.append(("accepted", .object(accepted)))
    }
    return .object(members)
  }

  private static func json(_ input: Input) -> JSONValue {
    .object([("name", .string(input.name)), ("value", .string(input.value))] + (input.place.map(location) ?? []))
  }

  private static func location(_ place: Place) -> [(String, JSONValue)] {
    [
      ("file", .string(place.file)), ("line", .int(place.line)), ("column", .int(place.column)),
      ("path", .string(place.path)),
    ]
  }
}
