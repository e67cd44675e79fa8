// SPDX-License-Identifier: Apache-2.0
import WeirWire

/// Every kind of edit, with names that the seeds have.
private let edits: [JSONEdits] = {
  do {
    return [
      try JSONEdits(remove: ["a", "b[].c", "[].a"], rename: [("b", "a"), ("c.a", "d")]),
      try JSONEdits(set: ["a.b", "b[].c", "c"]), try JSONEdits(template: #"{"x":"$body","y":["$body.a.b"]}"#),
      try JSONEdits(remove: ["\u{0}"]),
    ]
  } catch { fatalError("edits that are none: \(error)") }
}()

/// JSON becomes JSON, within its bound; what names nothing changes nothing; what is no JSON is refused.
func fuzzJSON(_ bytes: [UInt8]) {
  let isJSON = JSONText.isWhole(bytes.span)
  for (index, edit) in edits.enumerated() {
    var out: [UInt8] = []
    let values = Array(repeating: Array("[9]".utf8), count: edit.setCount + edit.texts.count)
    switch edit.apply(bytes, values: values, most: 1 << 16, into: &out) {
    case .done:
      require(isJSON && JSONText.isWhole(out.span) && out.count <= 1 << 16, "edit \(index) made \(out)")
      if index == 3 { require(out == bytes || bytes.contains(0x5c), "nothing was named: \(out)") }
    case .broken(let at): require(!isJSON && at <= bytes.count, "broken at \(at)")
    case .misfit: require(isJSON && index == 1, "edit \(index) does not fit")
    case .tooLarge: break
    }
  }
  if let path = try? JSONPath(String(decoding: bytes, as: UTF8.self)) {
    require((1...JSONPath.stepsMax).contains(path.steps.count), "a path of \(path.steps.count) steps")
  }
}
