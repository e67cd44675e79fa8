// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Where a database is, as told by an option or `NOTES_DB_URL`: a `sqlite:` URL or a plain path.
package enum DatabaseLocation {
  /// The path of `sqlite:///absolute`, `sqlite:relative`, `sqlite://relative` or a plain path; nil when there is none.
  package static func path(of text: String) -> String? {
    var rest = Substring(text)
    let isURL = rest.hasPrefix("sqlite:")
    if isURL { rest = rest.dropFirst("sqlite:".count) }
    if isURL, rest.hasPrefix("//") { rest = rest.dropFirst(2) }
    guard !rest.isEmpty, isURL || !rest.contains("://") else { return nil }
    return isURL ? rest.removingPercentEncoding : String(rest)
  }
}
