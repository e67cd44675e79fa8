// SPDX-License-Identifier: Apache-2.0
import Foundation

/// One request on a connection of its own; sent and answered apart, so that a test can act between the two.
///
/// Not `URLSession`: it would connect again by itself, and a refused or lost connection is what these tests look for.
final class Talk: Sendable {
  struct Reply: Sendable {
    var status: Int
    var fields: [(name: String, value: String)]
    var body: Data

    var text: String { String(decoding: body, as: UTF8.self) }
    func field(_ name: String) -> String? { fields.first { $0.name == name.lowercased() }?.value }
  }

  private let descriptor: Int32

  /// Connects and sends.
  init(
    port: Int, _ path: String, _ method: String = "GET", fields: [String: String] = [:], body: String? = nil
  ) throws {
    descriptor = Socket.make()
    guard Socket.connect(descriptor, port: port) else {
      close(descriptor)
      throw Mistake("no connection to port \(port): \(String(cString: strerror(errno)))")
    }
    var limit = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var head = "\(method) \(path) HTTP/1.1\r\nHost: localhost:\(port)\r\nConnection: close\r\n"
    for (name, value) in fields { head += "\(name): \(value)\r\n" }
    if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
    var bytes = Array((head + "\r\n" + (body ?? "")).utf8)[...]
    while !bytes.isEmpty {
      let count = Array(bytes).withUnsafeBytes {
        send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Mistake("the request was not taken: \(String(cString: strerror(errno)))") }
      bytes = bytes.dropFirst(count)
    }
  }

  deinit { close(descriptor) }

  /// Reads to the end of the connection.
  func reply() throws -> Reply {
    var all = Data()
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count == 0 { break }
      guard count > 0 else {
        throw Mistake("the answer broke off after \(all.count) bytes: \(String(cString: strerror(errno)))")
      }
      all += buffer[..<count]
    }
    guard let end = all.range(of: Data("\r\n\r\n".utf8)) else {
      throw Mistake("no answer but \(all.count) bytes: \(String(decoding: all.prefix(80), as: UTF8.self))")
    }
    var lines = String(decoding: all[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    let words = lines.removeFirst().split(separator: " ")
    guard words.count >= 2, let status = Int(words[1]) else { throw Mistake("no status line") }
    let fields = lines.compactMap { line -> (name: String, value: String)? in
      guard let colon = line.firstIndex(of: ":") else { return nil }
      return (line[..<colon].lowercased(), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces))
    }
    let isChunked = fields.contains { $0.name == "transfer-encoding" }
    let body = Data(all[end.upperBound...])
    return Reply(status: status, fields: fields, body: isChunked ? try Talk.joined(body) : body)
  }

  /// The chunks of a body as one.
  private static func joined(_ body: Data) throws -> Data {
    var rest = body[...]
    var whole = Data()
    while let line = rest.range(of: Data("\r\n".utf8)) {
      let size = String(decoding: rest[rest.startIndex..<line.lowerBound], as: UTF8.self)
      guard let count = Int(size, radix: 16), rest.endIndex - line.upperBound >= count + 2 else { break }
      if count == 0 { return whole }
      whole += rest[line.upperBound..<line.upperBound + count]
      rest = rest[(line.upperBound + count + 2)...]
    }
    throw Mistake("the chunks of the answer do not end")
  }
}
