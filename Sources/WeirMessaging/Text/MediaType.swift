// SPDX-License-Identifier: Apache-2.0

/// What a `Content-Type` says of how a payload stands in a JSON text.
enum MediaType {
  /// Type and subtype in lower case, without parameters and white space.
  static func essence(_ value: String) -> String {
    let bare = value.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
    return bare.trimming { $0 == " " || $0 == "\t" }.lowercased()
  }

  /// `*/json` or `*/*+json`.
  static func isJSON(_ value: String) -> Bool {
    let type = essence(value)
    return type.hasSuffix("/json") || type.contains("/") && type.hasSuffix("+json")
  }
}

extension StringProtocol {
  /// Without the characters at both ends for which this holds.
  func trimming(_ isCut: (Character) -> Bool) -> String {
    let start = firstIndex { !isCut($0) } ?? endIndex
    let end = lastIndex { !isCut($0) }.map { index(after: $0) } ?? start
    return String(self[start..<end])
  }
}
