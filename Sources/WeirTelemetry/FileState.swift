// SPDX-License-Identifier: Apache-2.0

/// The file that a node goes by: which content, since when, and what came of the last change.
package struct FileState: Sendable, Codable, Equatable {
  /// Of the content of the file and all it includes, as 12 hexadecimal digits: the same on every node that runs it.
  package var hash = ""
  /// When this content was taken over; RFC 3339.
  package var since = ""
  /// The same in milliseconds since 1970.
  package var sinceMilliseconds: Int64 = 0
  /// Changes that were taken over, and those that were refused.
  package var reloads = 0
  package var failures = 0
  /// Why the last change was refused, a sentence each; empty when it was taken over.
  package var refused: [String] = []

  package init() {}

  /// FNV-1a (RFC 9923) over names and contents, in their order; 48 bits, which a metric's number holds exactly.
  package static func hash(_ files: [(name: String, text: String)]) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    for file in files {
      for byte in file.name.utf8 { mix(byte) }
      mix(0)
      for byte in file.text.utf8 { mix(byte) }
      mix(0)
    }
    let digits = String((hash ^ hash >> 48) & 0xffff_ffff_ffff, radix: 16)
    return String(repeating: "0", count: 12 - digits.utf8.count) + digits
  }

  /// The hash as a number.
  package var number: Double { Double(UInt64(hash, radix: 16) ?? 0) }
}
