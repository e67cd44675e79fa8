// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOPosix

/// Somebody this program talks to over HTTP: another service through `WEIR_URL`, a queue, a stream, a saga.
///
/// Everything sent carries an id that its receiver knows it by, so that a request may be sent once more.
struct Peer: Sendable {
  /// What it is called in a sentence.
  let name: String
  private let target: CallTarget
  private let pool: NIOLoopBound<ClientPool>
  private let loop: any EventLoop

  init(_ name: String, at address: String) throws {
    self.name = name
    do {
      target = try CallTarget(address)
    } catch let mistake as CallTarget.Mistake {
      throw Refusal("\(name): \(mistake.description)")
    }
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let place = target.address
    self.loop = loop
    pool = try loop.submit {
      NIOLoopBound(ClientPool(loop: loop, address: place, connectionsMax: 32), eventLoop: loop)
    }.wait()
  }

  /// The peer whose address is in the environment; nil without one.
  static func told(by variable: String, path: String = "") throws -> Peer? {
    guard let base = ProcessInfo.processInfo.environment[variable], !base.isEmpty else { return nil }
    return try Peer(variable, at: (base.hasSuffix("/") ? String(base.dropLast()) : base) + path)
  }

  /// An answer, or nil when there was none in time.
  func send(
    _ method: HTTPRequest.Method, _ path: String = "", fields: [(String, String)] = [], body: ByteBuffer? = nil,
    within limit: TimeAmount = .seconds(2), for request: Request? = nil, spent: RequestTime? = nil
  ) async -> ClientResponse? {
    var limit = limit
    var head =
      "\(method.rawValue) \(target.prefix)\(path) HTTP/1.1\r\nhost: \(target.host)\r\naccept: application/json\r\n"
    if let trace = request?.headers[.traceparent] { head += "traceparent: \(trace)\r\n" }
    if let deadline = request?.headers[.deadline].flatMap({ Int64($0) }), let spent {
      let left = deadline - (NIODeadline.now() - spent.began).nanoseconds / 1_000_000
      guard left > 0 else { return nil }
      head += "weir-deadline: \(left)\r\n"
      limit = min(limit, .milliseconds(left))
    }
    for (name, value) in fields {
      // A value that ends a line would begin another field.
      guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
      head += "\(name): \(value)\r\n"
    }
    if let body { head += "content-type: application/json\r\ncontent-length: \(body.readableBytes)\r\n" }
    var bytes = ByteBuffer(string: head + "\r\n")
    if var body { bytes.writeBuffer(&body) }
    let began = NIODeadline.now()
    let (whole, patience) = (bytes, limit)
    let outcome: ClientOutcome = await withCheckedContinuation { continuation in
      loop.execute {
        pool.value.send(
          ClientExchange(request: whole, isHead: false, keepsContent: true, timeout: patience, mayRepeat: true) {
            continuation.resume(returning: $0)
          })
      }
    }
    spent?.called((NIODeadline.now() - began).nanoseconds)
    guard case .answered(let response) = outcome else { return nil }
    return response
  }
}

extension ClientResponse {
  var isDone: Bool { (200..<300).contains(status) }

  func json<Value: Decodable>(_ type: Value.Type) -> Value? {
    // What is not of this form is no answer to what was asked.
    try? JSONDecoder().decode(type, from: Data(body.readableBytesView))
  }
}
