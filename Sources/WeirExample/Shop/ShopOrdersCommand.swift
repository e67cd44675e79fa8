// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// `weir-example shop orders`: carts, the checkout, and the list of orders.
///
/// Nothing here writes to two places in one request and could leave one of them out. The checkout only begins a saga; its
/// steps here only append to the stream `order-log`; and what else there is to an order is made of that stream, by `/project`
/// and `/announce`. `/announce` sends twice, to the topic and to the queue: if it dies between the two the stream's group
/// brings it the event again, and by its id what was sent already is known there.
struct ShopOrdersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "orders",
    abstract: "Carts, the checkout, and the list of orders, made from the stream of their events.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: ShopDatabaseOptions

  func run() async throws {
    let program = try Program(name: "shop-orders", options: program)
    let store = try await ShopStore.open(database, variable: "ORDERS_DB_URL", tables: OrderBook.tables)
    let book = OrderBook(store: store)
    let desk = try OrderDesk(book: book)
    let log = OrderLog(stream: try Peer.told(by: "ORDER_LOG_URL"))
    let news = OrderNews(topic: try Peer.told(by: "ORDER_EVENTS_URL"), queue: try Peer.told(by: "EMAILS_URL"))
    try await program.serve {
      try await store.check()
      return nil
    } routes: { router in
      // What the page asks.
      router.get("/api/carts/:customer") { _, context in
        try json(try await book.cart(of: try customer(in: context)))
      }
      router.put("/api/carts/:customer") { request, context in
        let cart = try decode(
          OrderBook.Cart.self, from: try await body(of: request, upTo: 65_536, what: "a cart"))
        try await book.keep(try cart.checked(), of: try customer(in: context))
        return try json(cart)
      }
      router.post("/api/orders") { request, context in try await desk.checkOut(request, context) }
      router.get("/api/orders") { request, _ in
        let customer = try ShopID.checked(request.uri.queryParameters["customer"].map(String.init), what: "customer")
        return try json(try await book.orders(of: customer))
      }
      router.get("/api/orders/:id") { request, context in
        try await desk.progress(of: try order(in: context), request, context)
      }
      router.get("/api/orders/:id/mail") { request, context in
        try await news.mail(of: try order(in: context), request, context)
      }
      // Steps of the saga.
      for (path, kind) in [("/open", OrderEvent.Kind.opened), ("/reject", .rejected), ("/confirm", .placed)] {
        router.post(RouterPath(path)) { request, context in
          try await log.append(OrderEvent(kind, of: try await Order.of(request)), request, context)
        }
      }
      // What is made of the stream.
      router.post("/project") { request, _ in
        try await book.project(try await OrderEvent.of(request), version: try version(of: request))
      }
      router.post("/announce") { request, context in
        var event = try await OrderEvent.of(request)
        event.version = try version(of: request)
        return try await news.announce(event, request, context)
      }
      // What the clock starts.
      router.post("/report") { request, _ in try await book.report(request) }
    }
    try store.close()
  }

  private func customer(in context: ExampleContext) throws -> String {
    try ShopID.checked(context.parameters.get("customer"), what: "a customer's id")
  }

  private func order(in context: ExampleContext) throws -> String {
    try ShopID.checked(context.parameters.get("id"), what: "an order's id")
  }

  /// The number of the event within its order, which the stream has given it.
  private func version(of request: Request) throws -> Int {
    guard let version = request.headers[.weirVersion].flatMap({ Int($0) }), version > 0 else {
      throw Problem(.badRequest, "Weir-Version is missing: which event of its order is it?")
    }
    return version
  }
}
