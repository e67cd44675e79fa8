// SPDX-License-Identifier: Apache-2.0

/// The bytes of one file as a tree of nodes with exact places, or what is wrong with them.
///
/// Yams (libyaml) reads the YAML. It tells where a node begins; where it ends is found here by reading the text again
/// from there. Anchors, aliases, merge keys and tags are refused: a value must stand where it is used, or no tool can
/// say where it comes from.
package struct Document {
  var root: Node
  var source: Source

  /// 1 MiB: the file of a thousand services has a third of that.
  static let bytesMax = 1 << 20
  /// Levels of nesting; the language itself needs 12.
  static let depthMax = 64

  enum Reading {
    case document(Document)
    case mistakes([Diagnostic], Source)
  }

  /// Reads the bytes of `file`.
  static func read(file: String, bytes: [UInt8]) -> Reading {
    var bytes = bytes[...]
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes = bytes.dropFirst(3) }
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      return refuse(file, "not-utf8", "this file is UTF-16; Weir reads UTF-8", mend: "save it as UTF-8")
    }
    if bytes.count > bytesMax {
      return refuse(
        file, "file-too-large", "this file has \(bytes.count) bytes; a file may have \(bytesMax)",
        mend: "split it: include: [services/*.yaml]")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { return notUTF8(file, bytes) }
    let source = Source(file: file, text: text)
    if let mistake = forbiddenCharacter(source) { return .mistakes([mistake], source) }
    var composer = Composer(source)
    return composer.read()
  }

  private static func refuse(_ file: String, _ id: String, _ message: String, mend: String) -> Reading {
    let source = Source(file: file, text: "")
    return .mistakes([mistake(source, id, message, source.spot(at: 0), mend: mend)], source)
  }

  private static func notUTF8(_ file: String, _ bytes: ArraySlice<UInt8>) -> Reading {
    let repaired = Source(file: file, text: String(decoding: bytes, as: UTF8.self))
    // The longest valid beginning: by halving, as validity of a prefix up to a broken scalar is monotonic.
    var low = 0
    var high = bytes.count
    while high - low > 4 {
      let middle = (low + high) / 2
      var end = middle
      while end < bytes.count, bytes[bytes.startIndex + end] & 0xc0 == 0x80, end < middle + 4 { end += 1 }
      if String(validating: bytes.prefix(end), as: UTF8.self) != nil { low = middle } else { high = middle }
    }
    var valid = low
    while valid < bytes.count, String(validating: bytes.prefix(valid + 1), as: UTF8.self) != nil { valid += 1 }
    let offset = min(valid, repaired.text.utf8.count)
    return .mistakes(
      [
        mistake(
          repaired, "not-utf8", "this is not UTF-8: a byte here cannot be read", repaired.spot(at: offset),
          mend: "save the file as UTF-8")
      ], repaired)
  }

  /// Line breaks that readers do not agree upon: YAML 1.1 counts them as such, YAML 1.2 and editors do not.
  private static func forbiddenCharacter(_ source: Source) -> Diagnostic? {
    var offset = 0
    var previous: Unicode.Scalar = "\n"
    for scalar in source.text.unicodeScalars {
      switch scalar {
      case "\u{85}", "\u{2028}", "\u{2029}":
        return mistake(
          source, "strange-line-break",
          "the character U+\(String(scalar.value, radix: 16, uppercase: true)) is a line break for some readers only",
          source.spot(at: offset, length: scalar.utf8.count), mend: "remove it, or write it as an escape in quotes")
      default:
        if previous == "\r" && scalar != "\n" { return loneReturn(source, offset - 1) }
      }
      previous = scalar
      offset += UTF8.width(scalar)
    }
    return previous == "\r" ? loneReturn(source, offset - 1) : nil
  }

  private static func loneReturn(_ source: Source, _ offset: Int) -> Diagnostic {
    mistake(
      source, "strange-line-break", "a carriage return without a line feed", source.spot(at: offset, length: 1),
      mend: "save the file with line ends LF or CRLF")
  }

  static func mistake(
    _ source: Source, _ id: String, _ message: String, _ spot: Spot, path: String = "", caret: String? = nil,
    why: String? = nil, mend: String? = nil, related: [Diagnostic.Related] = []
  ) -> Diagnostic {
    Diagnostic(
      id, .error, message, at: Place(file: source.file, path: path, value: spot), spot: spot, caret: caret, why: why,
      mend: mend, related: related)
  }
}
