// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// The checkout: it makes an order of a cart, and begins the saga that carries it out.
struct OrderDesk: Sendable {
  private let book: OrderBook
  private let catalog: Peer?
  private let saga: Peer?

  init(book: OrderBook) throws {
    self.book = book
    catalog = try Peer.told(by: "WEIR_URL", path: "/call/catalog")
    saga = try Peer.told(by: "PLACE_ORDER_URL")
  }

  private struct Checkout: Decodable {
    var customer_id: String
    var email: String
  }

  /// `POST /api/orders`: 202, and where to ask how it goes.
  ///
  /// The key that the page has drawn for this order is its id and the saga's: asked twice, it is begun once.
  func checkOut(_ request: Request, _ context: ExampleContext) async throws -> Response {
    let id = try ShopID.checked(request.headers[.idempotencyKey], what: "the Idempotency-Key of an order")
    let who = try decode(Checkout.self, from: try await body(of: request, upTo: 4096, what: "a checkout"))
    let customer = try ShopID.checked(who.customer_id, what: "customer_id")
    guard (3...254).contains(who.email.utf8.count), who.email.contains("@"),
      who.email.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7f })
    else { throw Problem(.badRequest, "this is no e-mail address") }
    guard let saga else { throw Problem(.serviceUnavailable, "nobody is told at PLACE_ORDER_URL") }

    let cart = try await book.cart(of: customer)
    if cart.lines.isEmpty {
      // Asked again, after the order was placed and the cart emptied.
      let known = await saga.send(.get, "/\(id)", for: request, spent: context.spent)
      if known?.status == 200 { return try accepted(id) }
      throw Problem(.unprocessableContent, "the cart is empty")
    }
    let prices = await catalog?.send(.get, "/products", for: request, spent: context.spent)
    guard let products = prices.flatMap({ $0.status == 200 ? $0.json([Product].self) : nil }) else {
      throw Problem(.serviceUnavailable, "the prices cannot be asked for now", fields: [.retryAfter: "2"])
    }
    let lines = try cart.lines.map { line in
      guard let product = products.first(where: { $0.id == line.product }) else {
        throw Problem(.unprocessableContent, "'\(line.product)' is not sold any more")
      }
      return OrderLine(product: product.id, name: product.name, quantity: line.quantity, cents: product.cents)
    }
    let order = Order(
      id: id, customer: customer, email: who.email, lines: lines,
      total: lines.reduce(0) { $0 + $1.quantity * $1.cents })
    let begun = await saga.send(
      .post, fields: [("Weir-Id", id)], body: try encoded(order), for: request, spent: context.spent)
    guard let begun, begun.isDone else {
      // It may have been begun; the page asks again with the same key, and it is begun once.
      throw Problem(.serviceUnavailable, "the order could not be taken now", fields: [.retryAfter: "1"])
    }
    return try accepted(id)
  }

  private func accepted(_ id: String) throws -> Response {
    try json(["order_id": id], status: .accepted, headers: [.location: "/api/orders/\(id)"])
  }

  /// `GET /api/orders/<id>?wait=10s`: what the saga says of it; with `wait` as soon as it has ended.
  func progress(of id: String, _ request: Request, _ context: ExampleContext) async throws -> Response {
    guard let saga else { throw Problem(.serviceUnavailable, "nobody is told at PLACE_ORDER_URL") }
    let wait = request.uri.queryParameters["wait"].map(String.init) ?? "0s"
    guard let length = TimeLength(argument: wait), length.nanoseconds <= 10_000_000_000 else {
      throw Problem(.badRequest, "wait is at most 10s")
    }
    let query = length.nanoseconds > 0 ? "?wait=\(wait)" : ""
    let told = await saga.send(
      .get, "/\(id)\(query)", within: .seconds(2) + .nanoseconds(length.nanoseconds), for: request,
      spent: context.spent)
    guard let told else { throw Problem(.serviceUnavailable, "the state of the order cannot be asked for now") }
    if told.status == 404 { throw Problem(.notFound, "there is no such order") }
    guard told.status == 200 else {
      throw Problem(.serviceUnavailable, "the state of the order cannot be asked for now")
    }
    return jsonResponse(told.body)
  }
}
