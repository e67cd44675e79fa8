// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// What `/proc` tells about processes.
///
/// Linux; elsewhere there is nothing to read and the answers are empty.
public enum ProcessTable {
  /// A line of `/proc/<pid>/stat` (proc_pid_stat(5)).
  public struct Entry: Sendable, Equatable {
    public var pid: Int32
    public var name: String
    /// The state letter: `R` running, `S` sleeping, `Z` a zombie and others.
    public var state: Character
    public var parent: Int32
    public var group: Int32
    /// User and system time used so far, in nanoseconds, without waited-for children.
    public var cpuNanoseconds: Int64
    /// When it started, in clock ticks since boot: with the pid it names a process for ever.
    public var startTicks: UInt64
    /// Resident memory.
    public var residentBytes: Int
    public var threads: Int
  }

  public static func entry(of pid: Int32) -> Entry? {
    guard let text = try? Files.text("/proc/\(pid)/stat") else { return nil }  // Gone, or not Linux: no entry.
    return parse(text, ticksPerSecond: Int64(sysconf(Int32(_SC_CLK_TCK))), pageSize: Int(getpagesize()))
  }

  /// The name may contain spaces and parentheses, so it ends at the *last* closing one.
  public static func parse(_ text: String, ticksPerSecond: Int64, pageSize: Int) -> Entry? {
    guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"), open < close,
      let pid = Int32(text[..<open].filter { $0 != " " })
    else { return nil }
    let fields = text[text.index(after: close)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
    // Field 3 of the manual page is the first one here.
    guard fields.count >= 22, let state = fields[0].first, let parent = Int32(fields[1]), let group = Int32(fields[2]),
      let user = Int64(fields[11]), let system = Int64(fields[12]), let threads = Int(fields[17]),
      let start = UInt64(fields[19]), let pages = Int(fields[21])
    else { return nil }
    return Entry(
      pid: pid, name: String(text[text.index(after: open)..<close]), state: state, parent: parent, group: group,
      cpuNanoseconds: (user + system) * (1_000_000_000 / max(1, ticksPerSecond)), startTicks: start,
      residentBytes: pages * pageSize, threads: threads)
  }

  /// Every process of the machine that can be seen, by rising pid.
  public static func all() -> [Entry] {
    guard let names = try? Files.names(in: "/proc") else { return [] }  // Not Linux.
    return names.compactMap { Int32($0) }.sorted().compactMap { entry(of: $0) }
  }

  /// Processes whose environment, as it was when their program began, has this pair.
  public static func withEnvironment(_ name: String, _ value: String) -> [Entry] {
    let wanted = Array("\(name)=\(value)".utf8)
    guard let names = try? Files.names(in: "/proc") else { return [] }  // Not Linux.
    return names.compactMap { Int32($0) }.sorted().compactMap { pid in
      // Unreadable: of another user, so none of ours.
      guard let bytes = try? Files.bytes("/proc/\(pid)/environ"),
        bytes.split(separator: 0).contains(where: { $0.elementsEqual(wanted) })
      else { return nil }
      return entry(of: pid)
    }
  }

  /// Which process has the socket with this inode open; needs the right to look, so it may find nothing.
  ///
  /// The oldest of several: a child that has not become its program yet has all that its parent has.
  static func holder(ofSocketInode inode: UInt64) -> Entry? {
    let wanted = "socket:[\(inode)]"
    guard let names = try? Files.names(in: "/proc") else { return nil }  // Not Linux.
    var found: Entry?
    for pid in names.compactMap({ Int32($0) }) {
      guard let numbers = try? Files.names(in: "/proc/\(pid)/fd") else { continue }  // Gone, or another user's.
      guard numbers.contains(where: { Files.linkTarget("/proc/\(pid)/fd/\($0)") == wanted }),
        let holder = entry(of: pid)
      else { continue }
      if let other = found, (other.startTicks, other.pid) <= (holder.startTicks, holder.pid) { continue }
      found = holder
    }
    return found
  }

  /// Who listens on the TCP port, if it can be found.
  public static func listener(onPort port: UInt16) -> Entry? {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
      guard let text = try? Files.text(table) else { continue }  // No IPv6, or not Linux.
      for line in text.split(separator: "\n").dropFirst() {
        let fields = line.split(separator: " ")
        // Local address as HEX:PORT, state 0A is LISTEN, inode is the tenth field.
        guard fields.count > 9, fields[3] == "0A", let colon = fields[1].lastIndex(of: ":"),
          UInt16(fields[1][fields[1].index(after: colon)...], radix: 16) == port, let inode = UInt64(fields[9])
        else { continue }
        if let found = holder(ofSocketInode: inode) { return found }
      }
    }
    return nil
  }
}
