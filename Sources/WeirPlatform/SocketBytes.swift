// SPDX-License-Identifier: Apache-2.0
internal import CWeirPlatform

/// Bytes into a stream socket that somebody else owns and waits for.
public enum SocketBytes {
  /// Gives the socket as much as it takes now: the count of bytes, or nil when it took none (full, or broken).
  ///
  /// Never waits and never raises a signal.
  public static func send(_ bytes: UnsafeRawBufferPointer, to socket: Int32) -> Int? {
    let count = weir_send(socket, bytes.baseAddress, bytes.count)
    return count < 0 ? nil : count
  }

  /// The same for two runs that follow each other.
  public static func send(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, to socket: Int32) -> Int? {
    let count = weir_send_two(socket, first.baseAddress, first.count, second.baseAddress, second.count)
    return count < 0 ? nil : count
  }
}
