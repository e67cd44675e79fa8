// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirWire

/// The key by which a client stays with one of several services.
extension ClientConnection {
  static let splitCookie = Array("weir-split".utf8)

  /// Where the request falls in its route's split: the client's key if it has one, else a number that is drawn, and that it
  /// gets as its key where the route wants that.
  func draw(_ bytes: Span<UInt8>) -> UInt64 {
    newKey = nil
    guard let rules, rules.policy.keepsByCookie else { return loop.random.next() }
    if case .one(let run) = Cookies.find(bytes, head, ClientConnection.splitCookie), let key = hex16(bytes, run) {
      return key
    }
    let key = loop.random.next()
    newKey = key
    return key
  }

  private func hex16(_ bytes: Span<UInt8>, _ run: Run) -> UInt64? {
    guard run.count == 16 else { return nil }
    var value: UInt64 = 0
    for i in run.range {
      switch bytes[i] {
      case 0x30...0x39: value = value << 4 | UInt64(bytes[i] - 0x30)
      case 0x61...0x66: value = value << 4 | UInt64(bytes[i] - 0x57)
      default: return nil
      }
    }
    return value
  }

  /// The cookie with a key that was just given, for as long as the browser runs.
  func appendSplitCookie(to out: inout HeadBuffer) {
    guard let newKey else { return }
    out.append("Set-Cookie: ")
    out.append(ClientConnection.splitCookie)
    out.append("=")
    out.append(hex16: newKey)
    out.append("; Path=/; HttpOnly; SameSite=Lax")
    if isSecure { out.append("; Secure") }
    out.append("\r\n")
  }
}
