// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// What is known of the terminal behind a descriptor.
public enum Terminal {
  public static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// This process has a terminal that signals can come from, and it has not been closed.
  public static var isReachable: Bool { (try? Descriptor.open("/dev/tty", .read)) != nil }

  /// Columns, or nil when it is no terminal or will not say.
  public static func columns(_ descriptor: Int32) -> Int? {
    let columns = weir_terminal_columns(descriptor)
    return columns > 0 ? Int(columns) : nil
  }

  /// Whether colour may be used: on a terminal that is not `dumb`, unless `NO_COLOR` is set (no-color.org).
  public static func mayColour(_ descriptor: Int32) -> Bool {
    isTerminal(descriptor) && (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
  }

  static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// The environment this process was given.
public enum OwnEnvironment {
  public static func value(_ name: String) -> String? { Terminal.environment(name) }

  /// All of it, in its order.
  public static func all() -> [(name: String, value: String)] {
    var pairs: [(name: String, value: String)] = []
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      if let equals = text.firstIndex(of: "=") {
        pairs.append((String(text[..<equals]), String(text[text.index(after: equals)...])))
      }
      next += 1
    }
    return pairs
  }
}
