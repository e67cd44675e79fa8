// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Small files and folders.
public enum Files {
  public static func bytes(_ path: String) throws(SystemError) -> [UInt8] {
    let file = try Descriptor.open(path, .read)
    var all: [UInt8] = []
    while true {
      let part: [UInt8]
      do { part = try file.read(upTo: 65536) } catch { throw SystemError(call: "read \(path)", number: error.number) }
      if part.isEmpty { return all }
      all += part
    }
  }

  /// The file as text; bytes that are not UTF-8 come as U+FFFD.
  public static func text(_ path: String) throws(SystemError) -> String {
    String(decoding: try bytes(path), as: UTF8.self)
  }

  /// Replaces the file as a whole: a reader sees the old or the new one, a full disk leaves the old one.
  public static func replace(_ path: String, with bytes: [UInt8], permissions: Int32 = 0o600) throws(SystemError) {
    let fresh = path + ".new"
    do {
      let file = try Descriptor.open(fresh, .replace, permissions: permissions)
      try file.writeAll(bytes)
    } catch {
      unlink(fresh)
      throw SystemError(call: "write \(path)", number: error.number)
    }
    try rename(fresh, to: path)
  }

  public static func rename(_ path: String, to other: String) throws(SystemError) {
    if renameFile(path, other) < 0 { throw .last("rename \(path)") }
  }

  /// Gives a file another name besides, on the same file system.
  public static func share(_ path: String, as other: String) throws(SystemError) {
    if linkFile(path, other) < 0 { throw .last("link \(path)") }
  }

  /// Removes a file; a missing one is fine.
  public static func remove(_ path: String) throws(SystemError) {
    if unlink(path) < 0, errno != ENOENT { throw .last("remove \(path)") }
  }

  /// Makes a symbolic link.
  public static func link(_ target: String, at path: String) throws(SystemError) {
    if symlink(target, path) < 0 { throw .last("link \(path)") }
  }

  /// Makes a folder and those above it that are missing; an existing one is fine.
  public static func makeFolder(_ path: String, permissions: Int32 = 0o700) throws(SystemError) {
    if mkdir(path, mode_t(permissions)) == 0 || (errno == EEXIST && isFolder(path)) { return }
    let number = errno
    let above = parent(of: path)
    guard number == ENOENT, above != path else { throw SystemError(call: "make folder \(path)", number: number) }
    try makeFolder(above, permissions: permissions)
    if mkdir(path, mode_t(permissions)) < 0, errno != EEXIST { throw .last("make folder \(path)") }
  }

  public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  public static func isFolder(_ path: String) -> Bool {
    var facts = stat()
    return stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
  }

  public static func isWritable(_ path: String) -> Bool { access(path, W_OK) == 0 }

  /// Bytes that this user may still write to the file system of an existing path; nil when nobody says.
  public static func freeBytes(at path: String) -> Int64? {
    var facts = statvfs()
    guard statvfs(path, &facts) == 0 else { return nil }
    return Int64(clamping: UInt64(facts.f_bavail).multipliedReportingOverflow(by: UInt64(facts.f_frsize)).partialValue)
  }

  /// Whether there is room for as much as a page; yes when nobody says.
  public static func hasRoom(at path: String) -> Bool { freeBytes(at: path).map { $0 >= 65_536 } ?? true }

  public static func setPermissions(_ path: String, _ permissions: Int32) throws(SystemError) {
    if chmod(path, mode_t(permissions)) < 0 { throw .last("set permissions of \(path)") }
  }

  /// The names in a folder, unsorted, without `.` and `..`.
  public static func names(in path: String) throws(SystemError) -> [String] {
    guard let folder = opendir(path) else { throw .last("read folder \(path)") }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { start in
        start.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: start.pointee)) {
          String(cString: $0)
        }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// Where a symbolic link points, or nil.
  public static func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count < 0 ? nil : String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The one absolute path of an existing file or folder, without links and dots.
  public static func canonical(_ path: String) throws(SystemError) -> String {
    guard let found = realpath(path, nil) else { throw .last("find \(path)") }
    defer { free(found) }
    return String(cString: found)
  }

  /// This process's executable file; where it has been replaced, what is there now.
  public static var ownExecutable: String? {
    guard let path = linkTarget("/proc/self/exe") else { return nil }
    let mark = " (deleted)"
    return path.hasSuffix(mark) && !exists(path) ? String(path.dropLast(mark.count)) : path
  }

  public static func currentFolder() throws(SystemError) -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    guard getcwd(&buffer, buffer.count) != nil else { throw .last("getcwd") }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// `path`, seen from `folder` when it is not absolute.
  public static func resolve(_ path: String, in folder: String) -> String {
    path.hasPrefix("/") ? path : folder.hasSuffix("/") ? folder + path : folder + "/" + path
  }

  /// The folder a path lies in.
  public static func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}

// Inside the enum the name `rename` is its method.
private func renameFile(_ path: String, _ other: String) -> Int32 { rename(path, other) }
private func linkFile(_ path: String, _ other: String) -> Int32 { link(path, other) }
