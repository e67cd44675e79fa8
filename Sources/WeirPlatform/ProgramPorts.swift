// SPDX-License-Identifier: Apache-2.0

/// Hands out TCP ports for programs that will bind them by themselves.
///
/// A port cannot be reserved for a program that knows nothing of us: a socket of ours that holds it makes the program's
/// `bind` fail unless both set the same options. Asking the kernel for a free one (port 0) and closing it invites the
/// clash, for the kernel hands the same port to the next outgoing connection. So ports come from *outside* the range the
/// kernel uses for outgoing connections (`ip_local_port_range`, usually 32 768–60 999): there only an explicit `bind` can
/// take one. Each is tried first, on every address and without `SO_REUSEADDR`, so that even a port in TIME_WAIT is passed
/// over for the sake of programs that do not set it. The rest of the risk is two supervisors handing out one port in the
/// same milliseconds: the search begins at a place that depends on `salt` (the state folder), and a program that ends
/// before it was ever ready gets another port at its next start.
public struct ProgramPorts: Sendable {
  let range: ClosedRange<UInt16>
  var next: UInt16
  var given: Set<UInt16> = []

  /// 20 000–32 767 lies between the ports that well-known servers use and the kernel's own on every common system.
  public static let defaultRange: ClosedRange<UInt16> = 20_000...32_767

  public init(salt: String, range: ClosedRange<UInt16> = ProgramPorts.defaultRange) {
    let kernel = ProgramPorts.kernelRange()
    // Where an administrator moved the kernel's range over ours, we keep below it if that leaves a thousand ports.
    let upper =
      kernel.contains(range.upperBound) && kernel.lowerBound > range.lowerBound + 1000
      ? kernel.lowerBound - 1 : range.upperBound
    self.range = range.lowerBound...upper
    // FNV-1a (RFC 9923), as in SeededRandom.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in salt.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    next = range.lowerBound + UInt16(hash % UInt64(upper - range.lowerBound + 1))
  }

  /// Where the search begins.
  public var first: UInt16 { next }

  /// A port that was free a moment ago and that this value has not given before.
  public mutating func take() throws(ListenError) -> UInt16 {
    for _ in range {
      let port = next
      next = port == range.upperBound ? range.lowerBound : port + 1
      if !given.contains(port), ProgramPorts.isFree(port) {
        given.insert(port)
        return port
      }
    }
    throw .noFreePort(range)
  }

  /// Marks a port that is in use from before: that of an adopted program.
  public mutating func keep(_ port: UInt16) { given.insert(port) }

  /// Makes a port that was handed out available again.
  public mutating func giveBack(_ port: UInt16) { given.remove(port) }

  /// Whether a program could bind the port now, on any address.
  public static func isFree(_ port: UInt16) -> Bool { Listening.canBindAnywhere(port) }

  /// The ports the kernel takes for outgoing connections.
  static func kernelRange() -> ClosedRange<UInt16> {
    // Linux's default, also when it cannot be read.
    guard let text = try? Files.text("/proc/sys/net/ipv4/ip_local_port_range") else { return 32_768...60_999 }
    let parts = text.split(whereSeparator: \.isWhitespace).compactMap { UInt16($0) }
    return parts.count == 2 && parts[0] <= parts[1] ? parts[0]...parts[1] : 32_768...60_999
  }
}
