// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Writes one JSON object a line to standard output.
enum LogLine {
  /// Fields in the order given, after `time`; a line is one write, so lines of several threads do not mix.
  static func write(_ fields: [(String, Field)]) {
    var line = "{\"time\":\"\(now())\""
    for (name, field) in fields { line += ",\"\(name)\":\(field.json)" }
    line += "}\n"
    FileHandle.standardOutput.write(Data(line.utf8))
  }

  static func now() -> String { Date().formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)) }

  /// A value of a log line.
  enum Field {
    case text(String)
    case number(Int)
    case milliseconds(Double)

    var json: String {
      switch self {
      case .text(let text): return quoted(text)
      case .number(let number): return "\(number)"
      case .milliseconds(let value): return "\((value * 1000).rounded() / 1000)"
      }
    }
  }

  /// A JSON string (RFC 8259 §7).
  static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
