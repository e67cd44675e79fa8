// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore

/// What a load consists of: kinds of requests, each with its own rate.
struct LoadMix: Sendable {
  /// One kind of request.
  ///
  /// `{n}` in path and body is a number that counts up.
  struct Entry: Sendable, Decodable {
    var method: String
    var path: String
    var body: String?
    /// A second.
    var rate: Double

    private enum Key: String, CodingKey { case method, path, body, rate }

    init(method: String, path: String, body: String?, rate: Double) {
      self.method = method
      self.path = path
      self.body = body
      self.rate = rate
    }

    init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: Key.self)
      method = try values.decodeIfPresent(String.self, forKey: .method) ?? "GET"
      path = try values.decode(String.self, forKey: .path)
      body = try values.decodeIfPresent(String.self, forKey: .body)
      rate = try values.decode(Double.self, forKey: .rate)
    }
  }

  struct Mistake: Error, CustomStringConvertible {
    let description: String
  }

  var entries: [Entry]

  var rate: Double { entries.reduce(0) { $0 + $1.rate } }

  init(json: Data) throws {
    do {
      entries = try JSONDecoder().decode([Entry].self, from: json)
    } catch {
      throw Mistake(description: "a mix is a list of { method, path, body, rate }: \(error)")
    }
    try check()
  }

  init(single entry: Entry) throws {
    entries = [entry]
    try check()
  }

  private func check() throws {
    guard !entries.isEmpty else { throw Mistake(description: "the mix has no requests") }
    for entry in entries {
      guard entry.path.hasPrefix("/"), !entry.path.contains(where: { $0 == " " || $0.isNewline }) else {
        throw Mistake(description: "'\(entry.path)' is not a path")
      }
      guard !entry.method.isEmpty, entry.method.allSatisfy({ $0.isLetter && $0.isASCII }) else {
        throw Mistake(description: "'\(entry.method)' is not a method")
      }
      guard entry.rate >= 0, entry.rate.isFinite else { throw Mistake(description: "a rate is 0 or more") }
    }
    guard rate > 0 else { throw Mistake(description: "the mix has no rate") }
  }

  /// The same mix at another total rate.
  func scaled(to rate: Double) -> LoadMix {
    var mix = self
    let factor = rate / self.rate
    for index in mix.entries.indices { mix.entries[index].rate *= factor }
    return mix
  }
}

/// The bytes of an entry's requests.
struct RequestTemplate {
  private let whole: ByteBuffer?
  private let entry: LoadMix.Entry
  private let target: CallTarget
  let isHead: Bool

  init(_ entry: LoadMix.Entry, target: CallTarget) {
    self.entry = entry
    self.target = target
    isHead = entry.method == "HEAD"
    let isNumbered = entry.path.contains("{n}") || entry.body?.contains("{n}") == true
    whole = isNumbered ? nil : RequestTemplate.bytes(entry, target: target, number: 0)
  }

  func request(number: Int) -> ByteBuffer {
    whole ?? RequestTemplate.bytes(entry, target: target, number: number)
  }

  private static func bytes(_ entry: LoadMix.Entry, target: CallTarget, number: Int) -> ByteBuffer {
    let path = entry.path.replacing("{n}", with: "\(number)")
    var head = "\(entry.method) \(target.prefix)\(path) HTTP/1.1\r\nhost: \(target.host)\r\n"
    let body = entry.body?.replacing("{n}", with: "\(number)")
    if let body {
      let type = body.hasPrefix("{") || body.hasPrefix("[") ? "application/json" : "text/plain"
      head += "content-type: \(type)\r\ncontent-length: \(body.utf8.count)\r\n"
    } else if entry.method != "GET", entry.method != "HEAD" {
      head += "content-length: 0\r\n"
    }
    return ByteBuffer(string: head + "\r\n" + (body ?? ""))
  }
}
