// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// The system's own resolver: `/etc/hosts`, DNS, whatever the machine is set up for.
public enum Resolving {
  /// A name has no answer now.
  public struct Failure: Error, CustomStringConvertible {
    public var description: String
  }

  /// Whether a host is an address already: nobody need be asked.
  public static func isNumber(_ host: String) -> Bool {
    var bytes = (0..<16).map { _ in UInt8(0) }
    return inet_pton(AF_INET, host, &bytes) == 1 || inet_pton(AF_INET6, host, &bytes) == 1
  }

  /// The addresses of a host, as numbers, each once, sorted; blocks for as long as the system's resolver takes.
  public static func addresses(of host: String) throws(Failure) -> [String] {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Listening.streamType
    // Without it a machine that has no IPv6 is told of addresses that it cannot reach.
    hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, nil, &hints, &list)
    guard code == 0 else {
      throw Failure(description: gai_strerror(code).map { String(cString: $0) } ?? "error \(code)")
    }
    defer { freeaddrinfo(list) }
    var found: Set<String> = []
    var entry = list
    while let info = entry?.pointee {
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      let size = socklen_t(text.count)
      if getnameinfo(info.ai_addr, info.ai_addrlen, &text, size, nil, 0, NI_NUMERICHOST) == 0 {
        found.insert(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
      }
      entry = info.ai_next
    }
    return found.sorted()
  }
}
