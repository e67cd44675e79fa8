// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What happened to each order, in the stream `order-log`: opened, then placed or rejected.
///
/// That an order is not placed and rejected both is not checked by anybody: it is the version that the next event must
/// have. Two that append at the same time append to the same version, and one of them is told so.
struct OrderLog: Sendable {
  let stream: Peer?

  private struct Page: Decodable {
    struct Entry: Decodable { var type: String }
    var events: [Entry]
  }

  /// Appends the event that a step of the saga stands for, once.
  func append(_ event: OrderEvent, _ request: Request, _ context: ExampleContext) async throws -> Response {
    let expected = event.type == .opened ? 0 : 1
    switch await send(event, expected: expected, request, context) {
    case 200..<300: return try json(["type": event.type.rawValue])
    case 409: break
    default: throw unavailable
    }
    let before = try await types(of: event.order, request, context)
    if before.contains(event.type) { return try json(["type": event.type.rawValue]) }
    if event.type == .rejected, before.isEmpty {
      // Rejected before it was opened: that bars it, as the first version is taken then.
      if (200..<300).contains(await send(event, expected: 0, request, context)) {
        return try json(["type": event.type.rawValue])
      }
      throw unavailable
    }
    guard let last = before.last else { throw unavailable }
    throw Problem(.unprocessableContent, "the order's last event is \(last.rawValue)")
  }

  private var unavailable: Problem { Problem(.serviceUnavailable, "the order's log cannot be written now") }

  /// The status; 0 for no answer.
  private func send(
    _ event: OrderEvent, expected: Int, _ request: Request, _ context: ExampleContext
  ) async -> Int {
    guard let stream, let body = try? encoded(event) else { return 0 }
    let fields = [
      ("Weir-Id", "\(event.order)-\(event.type.rawValue)"), ("Weir-Type", event.type.rawValue),
      ("Weir-Expected-Version", "\(expected)"),
    ]
    return await stream.send(
      .post, "/\(event.order)", fields: fields, body: body, for: request, spent: context.spent)?.status ?? 0
  }

  private func types(
    of order: String, _ request: Request, _ context: ExampleContext
  ) async throws -> [OrderEvent.Kind] {
    let answer = await stream?.send(.get, "/\(order)", for: request, spent: context.spent)
    if answer?.status == 404 { return [] }
    guard let answer, answer.status == 200, let page = answer.json(Page.self) else { throw unavailable }
    return page.events.compactMap { OrderEvent.Kind(rawValue: $0.type) }
  }
}

/// What others hear of an order: the topic `order-events`, and a mail to the customer.
///
/// It may be told the same event twice. Each message has an id made of the order and the event, and so is one message.
struct OrderNews: Sendable {
  let topic: Peer?
  let queue: Peer?

  private struct Mail: Encodable {
    var order_id: String
    var customer_id: String
    var to: String
    var subject: String
    var text: String
  }

  func announce(_ event: OrderEvent, _ request: Request, _ context: ExampleContext) async throws -> Response {
    var told = event
    told.email = nil
    let published = await topic?.send(
      .post,
      fields: [
        ("Weir-Id", "\(event.order)-\(event.version ?? 0)"), ("Weir-Key", event.order),
        ("Weir-Type", event.type.rawValue),
      ], body: try encoded(told), for: request, spent: context.spent)
    guard published?.isDone == true else { throw Problem(.serviceUnavailable, "the topic took no event") }
    if let mail = mail(about: event) {
      let sent = await queue?.send(
        .post, fields: [("Weir-Id", Self.mailID(of: event.order))], body: try encoded(mail), for: request,
        spent: context.spent)
      guard sent?.isDone == true else { throw Problem(.serviceUnavailable, "the queue took no mail") }
    }
    return try json(["announced": event.type.rawValue])
  }

  private static func mailID(of order: String) -> String { "\(order)-mail" }

  private func mail(about event: OrderEvent) -> Mail? {
    guard let email = event.email else { return nil }
    let what = event.lines.map { "\($0.quantity) × \($0.name)" }.joined(separator: "\n")
    let (subject, text): (String, String)
    switch event.type {
    case .opened: return nil
    case .placed: (subject, text) = ("Thank you for your order", "We send you:\n\n\(what)")
    case .rejected: (subject, text) = ("Your order could not be placed", "You pay nothing for:\n\n\(what)")
    }
    return Mail(order_id: event.order, customer_id: event.customer, to: email, subject: subject, text: text)
  }

  /// `GET /api/orders/<id>/mail`: what became of the mail as the queue knows it, or `unknown`.
  func mail(of order: String, _ request: Request, _ context: ExampleContext) async throws -> Response {
    struct Message: Codable { var state: String }
    let told = await queue?.send(
      .get, "/messages/\(Self.mailID(of: order))", for: request, spent: context.spent)
    // Not announced yet, or sent long ago: who asks while an order goes on its way asks again, and has made no mistake.
    if told?.status == 404 { return try json(Message(state: "unknown")) }
    guard let message = told?.json(Message.self), told?.status == 200 else {
      throw Problem(.serviceUnavailable, "the queue cannot be asked now")
    }
    return try json(message)
  }
}
