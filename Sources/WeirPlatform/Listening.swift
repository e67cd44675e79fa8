// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Opens sockets that listen.
public enum Listening {
  /// Connections the kernel completes and keeps until they are accepted; it cuts this to `net.core.somaxconn`, which is
  /// 4 096 since Linux 5.4.
  public static let backlog: Int32 = 4096

  /// TCP sockets on one address and port, `count` of them as one `SO_REUSEPORT` group (one an event loop).
  ///
  /// `address` is an IPv4 or IPv6 literal, `localhost` (127.0.0.1), or `*`: every address of both families where the
  /// machine has IPv6. Port 0 takes a free one. A port that anyone listens on, in whatever way, is refused: a group
  /// alone would silently share it with another process of this user (DESIGN §5.5).
  public static func tcp(address: String, port: UInt16, count: Int = 1)
    throws(ListenError) -> (sockets: [Descriptor], port: UInt16)
  {
    guard let candidates = SocketAddress.candidates(address, port: port) else { throw .badAddress(address) }
    var last = ListenError.badAddress(address)
    for candidate in candidates {
      do {
        return try group(candidate, shown: address, port: port, count: max(1, count))
      } catch ListenError.familyMissing {
        last = .familyMissing(address)
      }
    }
    throw last
  }

  static func group(_ address: SocketAddress, shown: String, port: UInt16, count: Int)
    throws(ListenError) -> (sockets: [Descriptor], port: UInt16)
  {
    if port != 0 {
      // The probe: without SO_REUSEPORT, so a listener of any kind on this port is noticed. Closed before the group
      // opens, for the group could not bind beside it.
      _ = try bound(address, shown: shown, port: port, shared: false)
    }
    // Port 0 never lands in another group: the kernel only shares a port that was asked for by number.
    let first = try bound(address, shown: shown, port: port, shared: count > 1)
    let chosen = SocketAddress.port(of: first) ?? port
    var sockets = [first]
    let rest = address.with(port: chosen)
    while sockets.count < count { sockets.append(try bound(rest, shown: shown, port: chosen, shared: true)) }
    for socket in sockets where listen(socket.number, backlog) < 0 {
      if errno == EADDRINUSE { throw .taken(address: shown, port: chosen, by: holder(chosen)) }
      throw .system(.last("listen on \(shown):\(chosen)"))
    }
    return (sockets, chosen)
  }

  static func bound(_ address: SocketAddress, shown: String, port: UInt16, shared: Bool)
    throws(ListenError) -> Descriptor
  {
    let number = socket(address.family, streamType, 0)
    if number < 0 {
      if errno == EAFNOSUPPORT { throw .familyMissing(shown) }
      throw .system(.last("socket"))
    }
    let made = Descriptor(owning: number)
    do { try made.setCloseOnExec() } catch { throw .system(error) }
    // Connections of an earlier run that linger in TIME_WAIT must not keep us from starting (RFC 9293 §3.6.1).
    set(made, SOL_SOCKET, SO_REUSEADDR, 1)
    if shared { set(made, SOL_SOCKET, SO_REUSEPORT, 1) }
    if address.family == AF_INET6 { set(made, Int32(IPPROTO_IPV6), IPV6_V6ONLY, address.bothFamilies ? 0 : 1) }
    if address.bind(number) < 0 {
      switch errno {
      case EADDRINUSE: throw .taken(address: shown, port: port, by: holder(port))
      case EACCES, EPERM: throw .forbidden(address: shown, port: port)
      case EADDRNOTAVAIL where address.bothFamilies: throw .familyMissing(shown)
      case EADDRNOTAVAIL: throw .notOurs(address: shown)
      default: throw .system(.last("bind \(shown):\(port)"))
      }
    }
    return made
  }

  static func holder(_ port: UInt16) -> ListenError.Holder? {
    ProcessTable.listener(onPort: port).map { ListenError.Holder(name: $0.name, pid: $0.pid) }
  }

  static func set(_ socket: Descriptor, _ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(socket.number, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  #if canImport(Glibc)
    static var streamType: Int32 { Int32(SOCK_STREAM.rawValue) }
  #else
    static var streamType: Int32 { SOCK_STREAM }
  #endif

  /// Bytes that the path of a UNIX socket may have.
  public static var unixPathMax: Int { SocketAddress.unixPathMax }

  /// A UNIX socket, readable and writable by this user only (0600).
  ///
  /// A socket file that nobody listens on any more (its process was killed) is replaced; a live one is `taken`, and a
  /// file of another kind is left alone.
  public static func unix(path: String) throws(ListenError) -> Descriptor {
    guard let address = SocketAddress.unix(path) else { throw .pathTooLong(path, limit: SocketAddress.unixPathMax) }
    var facts = stat()
    if lstat(path, &facts) == 0 {
      guard facts.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path) }
      if answers(address) { throw .takenPath(path) }
      do { try Files.remove(path) } catch { throw .system(error) }
    }
    let number = socket(AF_UNIX, streamType, 0)
    if number < 0 { throw .system(.last("socket")) }
    let made = Descriptor(owning: number)
    do { try made.setCloseOnExec() } catch { throw .system(error) }
    // On Linux the mode of the socket before `bind` is the mode of the file that `bind` makes, so there is no moment in
    // which others could connect; other systems need the second call.
    fchmod(number, 0o600)
    if address.bind(number) < 0 {
      if errno == EADDRINUSE { throw .takenPath(path) }
      throw .system(.last("bind \(path)"))
    }
    chmod(path, 0o600)
    if listen(number, backlog) < 0 { throw .system(.last("listen on \(path)")) }
    return made
  }

  static func answers(_ address: SocketAddress) -> Bool {
    let number = socket(AF_UNIX, streamType, 0)
    if number < 0 { return false }
    let probe = Descriptor(owning: number)
    // A full backlog would make a blocking connect wait; EAGAIN says that somebody is there.
    do { try probe.setNonblocking() } catch { return true }
    return address.connect(number) == 0 || errno == EAGAIN
  }

  /// Whether a plain `bind` of the port, without any option, succeeds on every address.
  static func canBindAnywhere(_ port: UInt16) -> Bool {
    guard let candidates = SocketAddress.candidates("*", port: port) else { return false }
    for candidate in candidates {
      let number = socket(candidate.family, streamType, 0)
      if number < 0 { continue }  // No IPv6: the other candidate decides.
      let probe = Descriptor(owning: number)
      if candidate.family == AF_INET6 { set(probe, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
      if candidate.bind(number) == 0 { return true }
      if errno == EADDRINUSE || errno == EACCES { return false }
    }
    return false
  }

  /// The port a listening socket has.
  public static func port(of socket: Descriptor) -> UInt16? { SocketAddress.port(of: socket) }
}

/// Why nothing listens.
public enum ListenError: Error, Sendable, Equatable, CustomStringConvertible {
  public struct Holder: Sendable, Equatable {
    public var name: String
    public var pid: Int32

    public init(name: String, pid: Int32) {
      self.name = name
      self.pid = pid
    }
  }

  case badAddress(String)
  case familyMissing(String)
  case taken(address: String, port: UInt16, by: Holder?)
  case forbidden(address: String, port: UInt16)
  case notOurs(address: String)
  case pathTooLong(String, limit: Int)
  case takenPath(String)
  case notASocket(String)
  case noFreePort(ClosedRange<UInt16>)
  case system(SystemError)

  public var description: String {
    switch self {
    case .badAddress(let address): "'\(address)' is not an IP address, 'localhost' or '*'"
    case .familyMissing(let address): "this machine has no IPv6, which \(address) needs"
    case .taken(let address, let port, let holder):
      "port \(port) on \(address) is taken" + (holder.map { " by \($0.name) (process \($0.pid))" } ?? "")
    case .forbidden(let address, let port):
      "this user may not listen on port \(port) of \(address)"
        + (port < 1024 ? ": ports below 1024 need root or CAP_NET_BIND_SERVICE" : "")
    case .notOurs(let address): "\(address) is not an address of this machine"
    case .pathTooLong(let path, let limit):
      "the socket path \(path) is longer than the \(limit) bytes that the system allows"
    case .takenPath(let path): "another process listens on \(path)"
    case .notASocket(let path): "\(path) exists and is not a socket"
    case .noFreePort(let range): "no port from \(range.lowerBound) to \(range.upperBound) is free"
    case .system(let error): "\(error)"
    }
  }
}

/// An address as the socket calls want it.
struct SocketAddress {
  var storage = sockaddr_storage()
  var length: socklen_t = 0
  var bothFamilies = false
  var family: Int32 { Int32(storage.ss_family) }

  /// What an address means, in the order to try; nil when it is none.
  static func candidates(_ text: String, port: UInt16) -> [SocketAddress]? {
    switch text {
    case "*":
      guard var both = ipv6("::", port: port), let four = ipv4("0.0.0.0", port: port) else { return nil }
      both.bothFamilies = true
      return [both, four]
    case "localhost": return ipv4("127.0.0.1", port: port).map { [$0] }
    default:
      let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
      return (ipv4(bare, port: port) ?? ipv6(bare, port: port)).map { [$0] }
    }
  }

  static func ipv4(_ text: String, port: UInt16) -> SocketAddress? {
    var made = SocketAddress()
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, text, &address.sin_addr) == 1 else { return nil }
    made.fill(with: &address)
    return made
  }

  static func ipv6(_ text: String, port: UInt16) -> SocketAddress? {
    var made = SocketAddress()
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = port.bigEndian
    guard inet_pton(AF_INET6, text, &address.sin6_addr) == 1 else { return nil }
    made.fill(with: &address)
    return made
  }

  /// The longest path: one byte of `sun_path` is for the final NUL.
  static var unixPathMax: Int { MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1 }

  static func unix(_ path: String) -> SocketAddress? {
    let bytes = Array(path.utf8)
    guard bytes.count <= unixPathMax, !bytes.contains(0) else { return nil }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    var made = SocketAddress()
    made.fill(with: &address)
    return made
  }

  mutating func fill<A>(with address: inout A) {
    withUnsafeBytes(of: &address) { source in
      withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: source) }
    }
    length = socklen_t(MemoryLayout<A>.size)
  }

  func with(port: UInt16) -> SocketAddress {
    var copy = self
    // `sin_port` and `sin6_port` lie at the same place, after the family.
    withUnsafeMutableBytes(of: &copy.storage) { bytes in
      withUnsafeBytes(of: port.bigEndian) {
        bytes[2] = $0[0]; bytes[3] = $0[1]
      }
    }
    return copy
  }

  func bind(_ socket: Int32) -> Int32 { withPointer { bindSocket(socket, $0, length) } }
  func connect(_ socket: Int32) -> Int32 { withPointer { connectSocket(socket, $0, length) } }

  private func withPointer(_ body: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
    withUnsafePointer(to: storage) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) } }
  }

  static func port(of socket: Descriptor) -> UInt16? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &length) }
    }
    guard result == 0, [AF_INET, AF_INET6].contains(Int32(storage.ss_family)) else { return nil }
    return withUnsafeBytes(of: &storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
  }
}

// Inside the struct the names `bind` and `connect` are its methods.
private func bindSocket(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
  bind(socket, address, length)
}
private func connectSocket(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
  connect(socket, address, length)
}
