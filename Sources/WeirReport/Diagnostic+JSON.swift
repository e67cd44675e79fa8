// SPDX-License-Identifier: Apache-2.0
package import WeirModel

extension Diagnostic {
  /// Diagnostics for machines: `{ "schema": 1, "diagnostics": […] }`.
  package static func json(_ diagnostics: [Diagnostic]) -> JSONValue {
    .object([
      ("schema", .int(1)),
      ("diagnostics", .array(diagnostics.map(\.json))),
    ])
  }

  /// One diagnostic; what it does not have is left out.
  ///
  /// Lines and columns count from 1, bytes from 0.
  package var json: JSONValue {
    var members: [(String, JSONValue)] = [
      ("id", .string(id)), ("severity", .string(severity.rawValue)), ("message", .string(message)),
      ("file", .string(file)), ("line", .int(line)), ("column", .int(column)),
      ("bytes", .array([.int(spot.bytes.lowerBound), .int(spot.bytes.upperBound)])), ("path", .string(path)),
    ]
    let texts = [("caret", caret), ("why", why), ("mend", mend), ("accept", accept)]
    for (name, text) in texts {
      if let text { members.append((name, .string(text))) }
    }
    if !related.isEmpty {
      let places = related.map { related in
        JSONValue.object([
          ("message", .string(related.message)), ("file", .string(related.place.file)),
          ("line", .int(related.place.head.line)), ("column", .int(related.place.head.column)),
          ("path", .string(related.place.path)),
        ])
      }
      members.append(("related", .array(places)))
    }
    return .object(members)
  }
}
