// SPDX-License-Identifier: Apache-2.0
internal import Yams

/// Where nodes end: Yams tells only where they begin.
extension Composer {
  func end(of scalar: Yams.Node.Scalar, at start: Int) -> Int {
    switch scalar.style {
    case .singleQuoted: quotedEnd(start, single: true)
    case .doubleQuoted: quotedEnd(start, single: false)
    case .literal, .folded: blockEnd(start)
    case .plain, .any: plainEnd(start, withoutMark(scalar.string))
    }
  }

  /// Text as written, but that a run of white space with a line break in it stands for a space or some line breaks.
  private func plainEnd(_ start: Int, _ text: String) -> Int {
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }
    var at = start
    var pending = false
    for byte in text.utf8 {
      if isSpace(byte) {
        pending = true
        continue
      }
      if pending {
        while at < bytes.count, isSpace(bytes[at]) { at += 1 }
        pending = false
      }
      guard at < bytes.count, bytes[at] == byte else { return at }
      at += 1
    }
    return at
  }

  private func quotedEnd(_ start: Int, single: Bool) -> Int {
    var at = start + 1
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "'") where single:
        if at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "'") { at += 2 } else { return at + 1 }
      case UInt8(ascii: "\\") where !single: at += 2
      case UInt8(ascii: "\"") where !single: return at + 1
      default: at += 1
      }
    }
    return bytes.count
  }

  /// A block scalar goes on over lines that are empty or indented at least as far as its first line with text.
  private func blockEnd(_ start: Int) -> Int {
    func lineEnd(_ at: Int) -> Int { bytes[min(at, bytes.count)...].firstIndex(of: 0x0a) ?? bytes.count }
    var end = lineEnd(start)
    var indent: Int?
    var at = end + 1
    while at < bytes.count {
      let stop = lineEnd(at)
      let spaces = bytes[at..<stop].prefix { $0 == 0x20 }.count
      let blank = bytes[at..<stop].allSatisfy { $0 == 0x20 || $0 == 0x0d || $0 == 0x09 }
      if !blank {
        if indent == nil {
          guard spaces > 0 else { return end }
          indent = spaces
        }
        guard spaces >= indent ?? 0 else { return end }
        end = bytes[stop - 1] == 0x0d ? stop - 1 : stop
      }
      at = stop + 1
    }
    return end
  }

  /// Behind the sign that closes a flow collection: only white space, commas, colons and comments stand before it.
  func closing(from: Int, with sign: UInt8) -> Int {
    var at = from
    while at < bytes.count {
      switch bytes[at] {
      case sign: return at + 1
      case UInt8(ascii: "#"): at = bytes[at...].firstIndex(of: 0x0a) ?? bytes.count
      default: at += 1
      }
    }
    return bytes.count
  }
}
