// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Limits the system sets on this process.
public enum ResourceLimits {
  /// The present soft limit of open descriptors.
  public static func openFiles() -> UInt64 {
    var limit = rlimit()
    return getrlimit(openFilesResource, &limit) == 0 ? UInt64(limit.rlim_cur) : 1024
  }

  /// Raises the soft limit of open descriptors to the hard one; answers the limit before and now.
  ///
  /// Children should get the old one: with more than 1 024, programs that use `select` write past their tables.
  @discardableResult
  public static func raiseOpenFiles() -> (before: UInt64, now: UInt64) {
    let before = openFiles()
    var limit = rlimit()
    guard getrlimit(openFilesResource, &limit) == 0 else { return (before, before) }
    limit.rlim_cur = limit.rlim_max
    return setrlimit(openFilesResource, &limit) == 0 ? (before, UInt64(limit.rlim_max)) : (before, before)
  }

  #if canImport(Glibc)
    static var openFilesResource: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }
  #else
    static var openFilesResource: Int32 { RLIMIT_NOFILE }
  #endif
}
