// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What somebody wants to buy: the input of the saga `place-order`, which every step gets as it is.
struct Order: Codable, Sendable, Equatable {
  var id: String
  var customer: String
  var email: String
  var lines: [OrderLine]
  /// The sum, in cents; never a fraction of one.
  var total: Int

  enum CodingKeys: String, CodingKey {
    case id = "order_id"
    case customer = "customer_id"
    case email, lines
    case total = "total_cents"
  }

  static func of(_ request: Request) async throws -> Order {
    try decode(Order.self, from: try await body(of: request, upTo: 262_144, what: "an order"))
  }
}

struct OrderLine: Codable, Sendable, Equatable {
  var product: String
  var name: String
  var quantity: Int
  /// Of one piece.
  var cents: Int
}

/// What happened to an order: an event of the stream `order-log`, and of the topic `order-events`.
struct OrderEvent: Codable, Sendable, Equatable {
  enum Kind: String, Codable, Sendable {
    case opened = "OrderOpened"
    case placed = "OrderPlaced"
    case rejected = "OrderRejected"
  }

  var type: Kind
  var order: String
  /// 1, 2, … within its order, as the stream numbers them; the stream itself does not need to be told.
  var version: Int?
  var customer: String
  /// Stays inside: the topic goes to partners too.
  var email: String?
  var lines: [OrderLine]
  var total: Int
  /// RFC 3339, UTC.
  var at: String

  enum CodingKeys: String, CodingKey {
    case type
    case order = "order_id"
    case version
    case customer = "customer_id"
    case email, lines
    case total = "total_cents"
    case at
  }

  init(_ type: Kind, of order: Order) {
    self.type = type
    self.order = order.id
    customer = order.customer
    email = order.email
    lines = order.lines
    total = order.total
    at = LogLine.now()
  }

  static func of(_ request: Request) async throws -> OrderEvent {
    try decode(OrderEvent.self, from: try await body(of: request, upTo: 262_144, what: "an event"))
  }
}

/// Ids that stand in paths and header fields: of orders, customers, products.
enum ShopID {
  static func isFine(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
      && text.utf8.allSatisfy {
        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == UInt8(ascii: "-")
      }
  }

  static func checked(_ text: String?, what: String) throws -> String {
    guard let text, isFine(text) else {
      throw Problem(.badRequest, "\(what) has 1 to 64 letters, digits and dashes")
    }
    return text
  }
}

extension HTTPField.Name {
  /// Weir's, and anybody's: what this request is known by when it comes again.
  static let idempotencyKey = shop("idempotency-key")
  static let weirVersion = shop("weir-version")
  static let weirPosition = shop("weir-position")
  static let weirAttempt = shop("weir-attempt")

  private static func shop(_ name: String) -> HTTPField.Name {
    guard let field = HTTPField.Name(name) else { preconditionFailure("'\(name)' is a field name") }
    return field
  }
}

/// JSON as it is sent to a peer.
func encoded(_ value: some Encodable) throws -> ByteBuffer {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return ByteBuffer(bytes: try encoder.encode(value))
}
