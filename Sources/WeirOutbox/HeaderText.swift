// SPDX-License-Identifier: Apache-2.0
internal import Foundation

/// The two JSON texts that an outbox meets: headers of a row, and the refusal of a request.
enum HeaderText {
  /// The members of an object whose values are texts, by name; nil for anything else.
  static func pairs(_ text: String) -> [(String, String)]? {
    guard let object = try? JSONDecoder().decode([String: String].self, from: Data(text.utf8)) else { return nil }
    return object.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// As a part of a path (RFC 3986 §2.3).
  static func escaped(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in text.utf8 {
      let isPlain = byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || [0x2d, 0x2e, 0x5f, 0x7e].contains(byte)
      if isPlain { out.append(byte) } else { out += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The sentence of a problem+json.
  static func detail(_ body: [UInt8]) -> String? {
    struct Problem: Decodable { var detail: String? }
    return (try? JSONDecoder().decode(Problem.self, from: Data(body)))?.detail
  }
}
