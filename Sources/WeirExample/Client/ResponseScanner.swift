// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// What came back: the status, some header fields, the body.
package struct ClientResponse: Sendable {
  package var status = 0
  /// Names in lower case; empty unless the scanner keeps them.
  package var fields: [(name: String, value: String)] = []
  /// Empty unless the scanner keeps it.
  package var body = ByteBuffer()
  /// Whether the connection may be used again.
  package var keepsAlive = true

  package func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }
}

/// Reads HTTP/1.1 responses off a stream of bytes, as little as their end asks for (RFC 9112 §6.3).
package struct ResponseScanner {
  package enum Step {
    case more
    case done(ClientResponse)
    case wrong(String)
  }

  private enum Phase {
    case head
    case body(left: Int)
    case chunkSize
    case chunk(left: Int)
    case chunkEnd
    case trailers
    case untilClose
  }

  /// Longest head or chunk line: nobody sane sends more.
  private static let lineMax = 65_536

  private let keepsContent: Bool
  private let contentMax: Int
  private let isHead: Bool
  private var phase = Phase.head
  private var response = ClientResponse()

  /// A scanner for one response.
  package init(keepsContent: Bool, contentMax: Int = 1 << 20, isHead: Bool) {
    self.keepsContent = keepsContent
    self.contentMax = contentMax
    self.isHead = isHead
  }

  /// Takes what it can from the front of `buffer`.
  package mutating func scan(_ buffer: inout ByteBuffer) -> Step {
    while true {
      switch phase {
      case .head:
        guard let end = ResponseScanner.headEnd(of: buffer) else {
          return buffer.readableBytes > ResponseScanner.lineMax ? .wrong("head too long") : .more
        }
        guard let head = buffer.readString(length: end) else { return .more }
        if let mistake = readHead(head) { return .wrong(mistake) }
        if case .body(left: 0) = phase { return .done(response) }
      case .body(let left):
        guard let rest = take(left, of: &buffer) else { return .wrong("body too long") }
        if rest == 0 { return .done(response) }
        phase = .body(left: rest)
        return .more
      case .chunkSize:
        guard let line = ResponseScanner.line(of: &buffer) else { return .more }
        let digits = line.prefix { $0 != ";" && $0 != " " }
        guard let size = Int(digits, radix: 16), size >= 0 else { return .wrong("bad chunk size") }
        phase = size == 0 ? .trailers : .chunk(left: size)
      case .chunk(let left):
        guard let rest = take(left, of: &buffer) else { return .wrong("body too long") }
        phase = rest == 0 ? .chunkEnd : .chunk(left: rest)
        if rest > 0 { return .more }
      case .chunkEnd:
        guard let line = ResponseScanner.line(of: &buffer) else { return .more }
        guard line.isEmpty else { return .wrong("bad chunk end") }
        phase = .chunkSize
      case .trailers:
        guard let line = ResponseScanner.line(of: &buffer) else { return .more }
        if line.isEmpty { return .done(response) }
      case .untilClose:
        guard take(buffer.readableBytes, of: &buffer) != nil else { return .wrong("body too long") }
        return .more
      }
    }
  }

  /// The response that the end of the connection completes, if it does.
  package func ended() -> ClientResponse? {
    if case .untilClose = phase { return response }
    return nil
  }

  /// Whether nothing of a response has come.
  package var isUntouched: Bool {
    if case .head = phase { return true }
    return false
  }

  /// Takes up to `left` bytes of content; how many are still missing, or nil when it is more than may be kept.
  private mutating func take(_ left: Int, of buffer: inout ByteBuffer) -> Int? {
    let count = min(left, buffer.readableBytes)
    if keepsContent {
      guard response.body.readableBytes + count <= contentMax else { return nil }
      if var part = buffer.readSlice(length: count) { response.body.writeBuffer(&part) }
    } else {
      buffer.moveReaderIndex(forwardBy: count)
    }
    return left - count
  }

  /// Reads status line and fields, and says what is wrong with them.
  private mutating func readHead(_ head: String) -> String? {
    var lines = head.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)[...]
    guard let first = lines.popFirst(), first.starts(with: "HTTP/1.".utf8) else { return "not HTTP/1" }
    let parts = Substring(first).split(separator: " ", maxSplits: 2)
    guard parts.count >= 2, let status = Int(parts[1].prefix(3)), (100...599).contains(status) else {
      return "bad status line"
    }
    response = ClientResponse(status: status, keepsAlive: !parts[0].hasSuffix("1.0"))
    var length: Int?
    var chunked = false
    for line in lines {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let name = Substring(line[..<colon]).lowercased()
      let value = Substring(line[line.index(after: colon)...]).trimmed
      switch name {
      case "content-length":
        guard let number = Int(value), number >= 0 else { return "bad content-length" }
        length = number
      case "transfer-encoding": chunked = value.lowercased().hasSuffix("chunked")
      case "connection":
        let options = value.lowercased()
        if options.contains("close") { response.keepsAlive = false }
        if options.contains("keep-alive") { response.keepsAlive = true }
      default: break
      }
      if keepsContent { response.fields.append((name, String(value))) }
    }
    if (100..<200).contains(status) {
      // An interim response: the real one follows.
      phase = .head
    } else if isHead || status == 204 || status == 304 {
      phase = .body(left: 0)
    } else if chunked {
      phase = .chunkSize
    } else if let length {
      phase = .body(left: length)
    } else {
      response.keepsAlive = false
      phase = .untilClose
    }
    return nil
  }

  /// The length of the head with its empty line, if it is all there.
  private static func headEnd(of buffer: ByteBuffer) -> Int? {
    let view = buffer.readableBytesView
    var from = view.startIndex
    while let newline = view[from...].firstIndex(of: UInt8(ascii: "\n")) {
      let next = newline + 1
      if next < view.endIndex, view[next] == UInt8(ascii: "\n") { return next + 1 - view.startIndex }
      if next + 1 < view.endIndex, view[next] == UInt8(ascii: "\r"), view[next + 1] == UInt8(ascii: "\n") {
        return next + 2 - view.startIndex
      }
      from = next
    }
    return nil
  }

  /// The next line without its end, if it is all there.
  private static func line(of buffer: inout ByteBuffer) -> String? {
    let view = buffer.readableBytesView
    guard let newline = view.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
    let line = buffer.readString(length: newline + 1 - view.startIndex) ?? ""
    return String(Substring(line).trimmed)
  }
}

extension Substring {
  /// Without spaces, tabs and line ends around it.
  fileprivate var trimmed: Substring {
    var rest = self
    while let first = rest.unicodeScalars.first, first.value <= 0x20 { rest.unicodeScalars.removeFirst() }
    while let last = rest.unicodeScalars.last, last.value <= 0x20 { rest.unicodeScalars.removeLast() }
    return rest
  }
}
