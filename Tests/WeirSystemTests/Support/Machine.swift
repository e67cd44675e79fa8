// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The process table and the ports, as the kernel tells them.
enum Machine {
  struct Living: Sendable, CustomStringConvertible {
    var pid: Int32
    var command: String
    var description: String { "\(pid): \(command)" }
  }

  /// Every process that carries `mark` in its command line or its environment; those that are only waited for have neither.
  static func processes(marked mark: String) -> [Living] {
    let mark = Data(mark.utf8)
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.sorted().compactMap { pid in
      guard pid != getpid(), let command = bytes("/proc/\(pid)/cmdline"),
        !command.isEmpty
      else { return nil }
      let environment = bytes("/proc/\(pid)/environ") ?? Data()
      guard command.range(of: mark) != nil || environment.range(of: mark) != nil else { return nil }
      let words = command.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      return Living(pid: pid, command: words.joined(separator: " "))
    }
  }

  /// A file of `/proc`, read to its end: its size is told as 0 and its contents change meanwhile, and Foundation's own
  /// reading of such files crashes now and then.
  private static func bytes(_ path: String) -> Data? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var all = Data()
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      guard count > 0 else { return count == 0 ? all : nil }
      all += buffer[..<count]
    }
  }

  static func isAlive(_ pid: Int32) -> Bool {
    guard let command = bytes("/proc/\(pid)/cmdline") else { return false }
    return !command.isEmpty
  }

  /// A port nobody listens on, below the range from which the kernel takes the ports of outgoing connections, so that
  /// none of those takes it before the test does.
  static func freePort() throws -> Int {
    for _ in 0..<200 {
      let port = Int.random(in: 10_000..<20_000)
      if isFree(port) { return port }
    }
    throw Mistake("no free port found")
  }

  /// Whether one can listen there.
  static func isFree(_ port: Int) -> Bool {
    let descriptor = Socket.make()
    defer { close(descriptor) }
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    return Socket.bind(descriptor, port: port) && listen(descriptor, 1) == 0
  }
}

/// The few calls of the C library that tests need, in Swift's words.
enum Socket {
  static func make() -> Int32 {
    #if os(Linux)
      socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    #else
      socket(AF_INET, SOCK_STREAM, 0)
    #endif
  }

  static func bind(_ descriptor: Int32, port: Int) -> Bool {
    withAddress(port, any: true) { unsafeBind(descriptor, $0, $1) == 0 }
  }

  /// Connects to the loopback address.
  static func connect(_ descriptor: Int32, port: Int) -> Bool {
    withAddress(port, any: false) { unsafeConnect(descriptor, $0, $1) == 0 }
  }

  private static func withAddress<Value>(
    _ port: Int, any: Bool, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
  ) -> Value {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = any ? 0 : UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
  }
}

private func unsafeBind(_ descriptor: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
  bind(descriptor, address, length)
}

private func unsafeConnect(_ descriptor: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
  connect(descriptor, address, length)
}
