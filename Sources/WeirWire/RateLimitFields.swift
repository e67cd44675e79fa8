// SPDX-License-Identifier: Apache-2.0

/// The fields that tell a client its limit (draft-ietf-httpapi-ratelimit-headers-10) and when to come again.
extension HeadBuffer {
  /// `RateLimit-Policy: "default";q=500;w=1` and `RateLimit: "default";r=0;t=1`.
  ///
  /// - Parameters:
  ///   - quota: how many in a window.
  ///   - window: the window in seconds, at least 1.
  ///   - remaining: how many more now.
  ///   - reset: seconds until there are more.
  public mutating func appendRateLimit(quota: Int64, window: Int64, remaining: Int64, reset: Int64) {
    append("RateLimit-Policy: \"default\";q=")
    append(decimal: max(0, quota))
    append(";w=")
    append(decimal: max(1, window))
    append("\r\nRateLimit: \"default\";r=")
    append(decimal: max(0, remaining))
    append(";t=")
    append(decimal: max(0, reset))
    append("\r\n")
  }

  /// `Retry-After` in whole seconds, rounded up, at least 1 (RFC 9110 §10.2.3).
  public mutating func appendRetryAfter(nanoseconds: Int64) {
    append("Retry-After: ")
    let rounded = nanoseconds / 1_000_000_000 + (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)
    append(decimal: max(1, rounded))
    append("\r\n")
  }
}
