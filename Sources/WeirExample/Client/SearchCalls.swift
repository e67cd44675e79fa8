// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOPosix
import Synchronization

/// The API's calls of `search`, through Weir's listener at `WEIR_URL`: an answer always comes, if need be an empty one.
///
/// What a program has to do for tracing and deadlines is all here: pass three header fields on.
struct SearchCalls: Sendable {
  private let target: CallTarget?
  private let timeout: Int64
  private let pool: NIOLoopBound<ClientPool>?
  private let loop: any EventLoop

  init(base: String?, timeout: Int64) throws {
    self.timeout = timeout
    loop = MultiThreadedEventLoopGroup.singleton.any()
    guard let base, !base.isEmpty else {
      target = nil
      pool = nil
      return
    }
    let target = try CallTarget(base)
    self.target = target
    let loop = loop
    pool = try loop.submit {
      NIOLoopBound(ClientPool(loop: loop, address: target.address, connectionsMax: 64), eventLoop: loop)
    }.wait()
  }

  /// The found notes as `search` tells them, or `[]` with `x-degraded: search`.
  func answer(query: String, for request: Request, spent: RequestTime) async -> Response {
    let began = NIODeadline.now()
    let response = await call(query: query, for: request, spent: spent)
    spent.called((NIODeadline.now() - began).nanoseconds)
    guard let response, response.status == 200 else {
      return jsonResponse(ByteBuffer(string: "[]"), headers: [.degraded: "search"])
    }
    // Weir answers a fallback in place of the search and names the reason (RFC 9209).
    let isFallback = response.field("proxy-status")?.contains("error=") == true
    return jsonResponse(response.body, headers: isFallback ? [.degraded: "search"] : [:])
  }

  private func call(query: String, for request: Request, spent: RequestTime) async -> ClientResponse? {
    guard let target, let pool else { return nil }
    let elapsed = (NIODeadline.now() - spent.began).nanoseconds
    var limit = timeout
    var head = "GET \(target.prefix)/call/search/search?q=\(escaped(query)) HTTP/1.1\r\nhost: \(target.host)\r\n"
    if let trace = request.headers[.traceparent] { head += "traceparent: \(trace)\r\n" }
    if let retries = request.headers[.retries] { head += "weir-retries: \(retries)\r\n" }
    if let deadline = request.headers[.deadline].flatMap({ Int64($0) }) {
      let left = deadline - elapsed / 1_000_000
      guard left > 0 else { return nil }
      head += "weir-deadline: \(left)\r\n"
      limit = min(limit, left * 1_000_000)
    }
    let bytes = ByteBuffer(string: head + "accept: application/json\r\n\r\n")
    let timeout = TimeAmount.nanoseconds(limit)
    return await withCheckedContinuation { continuation in
      loop.execute {
        pool.value.send(
          ClientExchange(request: bytes, isHead: false, keepsContent: true, timeout: timeout, mayRepeat: true) {
            outcome in
            if case .answered(let response) = outcome {
              continuation.resume(returning: response)
            } else {
              continuation.resume(returning: nil)
            }
          })
      }
    }
  }

  /// Percent-encoded but for unreserved characters (RFC 3986 §2.3).
  private func escaped(_ text: String) -> String {
    var out = ""
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        out.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let hex = String(byte, radix: 16, uppercase: true)
        out += hex.count == 1 ? "%0\(hex)" : "%\(hex)"
      }
    }
    return out
  }
}

/// Where calls go: `http://host:port/prefix`, resolved once.
struct CallTarget: Sendable {
  let host: String
  /// The path before what is called, without a slash at its end.
  let prefix: String
  let address: SocketAddress

  struct Mistake: Error, CustomStringConvertible {
    let description: String
  }

  init(_ text: String) throws {
    guard let url = URLComponents(string: text), url.scheme == "http", let name = url.host, !name.isEmpty else {
      throw Mistake(description: "'\(text)' is not an address such as http://127.0.0.1:8080")
    }
    let port = url.port ?? 80
    host = "\(name):\(port)"
    prefix = url.path.hasSuffix("/") ? String(url.path.dropLast()) : url.path
    let bare = name.hasPrefix("[") ? String(name.dropFirst().dropLast()) : name
    do {
      address = try SocketAddress.makeAddressResolvingHost(bare, port: port)
    } catch {
      throw Mistake(description: "the host of '\(text)' is not known")
    }
  }
}
