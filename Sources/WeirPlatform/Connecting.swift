// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Plain blocking connections, for control work and tests; the data path has its own.
public enum Connecting {
  /// Connects to an IP literal or `localhost`.
  public static func tcp(address: String, port: UInt16) throws(SystemError) -> Descriptor {
    guard let candidates = SocketAddress.candidates(address, port: port), let target = candidates.first else {
      throw SystemError(call: "connect to \(address)", number: EINVAL)
    }
    return try open(target, "connect to \(address):\(port)")
  }

  /// Connects to a UNIX socket.
  public static func unix(path: String) throws(SystemError) -> Descriptor {
    guard let target = SocketAddress.unix(path) else {
      throw SystemError(call: "connect to \(path)", number: ENAMETOOLONG)
    }
    return try open(target, "connect to \(path)")
  }

  private static func open(_ target: SocketAddress, _ call: String) throws(SystemError) -> Descriptor {
    let number = socket(target.family, Listening.streamType, 0)
    if number < 0 { throw .last(call) }
    let made = Descriptor(owning: number)
    try made.setCloseOnExec()
    if target.connect(number) < 0 { throw .last(call) }
    return made
  }

  /// The next connection of a listening socket.
  public static func accept(from listener: Descriptor) throws(SystemError) -> Descriptor {
    var number: Int32
    repeat { number = acceptSocket(listener.number) } while number < 0 && errno == EINTR
    if number < 0 { throw .last("accept") }
    let made = Descriptor(owning: number)
    try made.setCloseOnExec()
    return made
  }
}

// Inside the enum the name `accept` is its method.
private func acceptSocket(_ listener: Int32) -> Int32 { accept(listener, nil, nil) }
