// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestPrograms
import Testing

/// All programs of the shop together, behind a stand-in for Weir that is written in Python.
@Suite(.timeLimit(.minutes(5)))
struct ShopFlowTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// The programs, and the stand-in that knows their ports.
  private final class Shop: Sendable {
    let folder: Folder
    let front: RunningProgram
    let programs: [String: RunningProgram]

    init() async throws {
      folder = try Folder()
      front = try await RunningProgram(
        command: "python3", [ShopFlowTests.root + "/Tests/Browser/standin.py"], environment: Self.own)
      var programs: [String: RunningProgram] = [:]
      for name in ["web", "catalog", "orders", "payments", "inventory"] {
        let data = name == "web" ? [] : ["--database", folder.path("\(name).db")]
        programs[name] = try await RunningProgram(["shop", name] + data, environment: Self.told(front.url))
      }
      programs["mailer"] = try await RunningProgram(
        command: "python3",
        [
          ShopFlowTests.root + "/examples/shop/mailer.py", "--port", "0", "--database",
          folder.path("mails.db"),
        ], environment: Self.own)
      self.programs = programs
      let ports = programs.map { "\"\($0)\":\($1.port)" }.joined(separator: ",")
      #expect(try await front.post("/services", json: "{\(ports)}").status == 200)
    }

    /// Where Python finds itself.
    private static let own = ProcessInfo.processInfo.environment.filter { ["PATH", "HOME"].contains($0.key) }

    private static func told(_ url: String) -> [String: String] {
      [
        "WEIR_URL": url + "/weir", "PLACE_ORDER_URL": url + "/weir/sagas/place-order",
        "ORDER_LOG_URL": url + "/weir/streams/order-log", "ORDER_EVENTS_URL": url + "/weir/topics/order-events",
        "EMAILS_URL": url + "/weir/queues/emails",
      ]
    }

    func put(_ product: String, _ quantity: Int, _ customer: String) async throws {
      let cart = "{\"lines\":[{\"product\":\"\(product)\",\"quantity\":\(quantity)}]}"
      let answer = try await front.send(
        "PUT", "/api/carts/\(customer)", body: Data(cart.utf8), fields: ["content-type": "application/json"])
      #expect(answer.status == 200)
    }

    func order(_ id: String, _ customer: String) async throws -> Answer {
      try await front.send(
        "POST", "/api/orders",
        body: Data("{\"customer_id\":\"\(customer)\",\"email\":\"ann@example.com\"}".utf8),
        fields: ["content-type": "application/json", "idempotency-key": id])
    }

    private struct Progress: Decodable { var state: String }

    /// How it ends; each question waits for it.
    func end(of id: String) async throws -> String {
      for _ in 0..<30 {
        let state = try await front.get("/api/orders/\(id)?wait=10s").json(Progress.self).state
        if state == "finished" || state == "compensated" { return state }
      }
      return "none"
    }

    private struct Listed: Decodable {
      var order_id: String
      var state: String
    }

    /// The list, as soon as it tells the end of the order.
    func listed(_ customer: String, until state: String) async throws -> [String] {
      for _ in 0..<3000 {
        let list = try await front.get("/api/orders?customer=\(customer)").json([Listed].self)
        if list.contains(where: { $0.state == state }) { return list.map(\.state) }
        await RunningProgram.nextLook()
      }
      return []
    }

    struct Mail: Decodable {
      var order_id: String
      var subject: String
    }

    /// The mails that were written, as soon as there are so many.
    func mails(_ count: Int) async throws -> [Mail] {
      guard let mailer = programs["mailer"] else { return [] }
      var mails: [Mail] = []
      for _ in 0..<3000 {
        mails = try await mailer.get("/mails").json([Mail].self)
        if mails.count >= count { break }
        await RunningProgram.nextLook()
      }
      return mails
    }
  }

  @Test(
    "an order is placed, paid once, taken out of stock once, listed, and a mail is written; asked again it is the same")
  func placed() async throws {
    let shop = try await Shop()
    try await shop.put("mug", 2, "c-1")
    for _ in 0..<2 {
      let answer = try await shop.order("order-1", "c-1")
      #expect(answer.status == 202 && answer.field("location") == "/api/orders/order-1", "\(answer.text)")
    }
    #expect(try await shop.end(of: "order-1") == "finished")
    #expect(try await shop.listed("c-1", until: "placed") == ["placed"])
    // The cart is empty now; the same order asked for once more is the same order.
    #expect(try await shop.order("order-1", "c-1").status == 202)
    #expect(try await shop.order("order-2", "c-1").status == 422)
    let payments = try #require(shop.programs["payments"])
    #expect(
      try await payments.get("/payments/order-1").json(ShopProgramTests.Payment.self)
        == .init(state: "authorized", movements: 1, cents: 2900))
    let mails = try await shop.mails(1)
    #expect(mails.map(\.subject) == ["Thank you for your order"] && mails.map(\.order_id) == ["order-1"])
  }

  @Test("an order that is declined, or of which something is sold out, is taken back whole, and a mail says so")
  func rejected() async throws {
    let shop = try await Shop()
    try await shop.put("umbrella", 1, "c-1")
    #expect(try await shop.order("declined", "c-1").status == 202)
    #expect(try await shop.end(of: "declined") == "compensated")
    #expect(try await shop.listed("c-1", until: "rejected") == ["rejected"])
    try await shop.put("chair", 2, "c-2")
    #expect(try await shop.order("too-many", "c-2").status == 202)
    #expect(try await shop.end(of: "too-many") == "compensated")
    let payments = try #require(shop.programs["payments"])
    #expect(
      try await payments.get("/payments/too-many").json(ShopProgramTests.Payment.self)
        == .init(state: "voided", movements: 2, cents: 0))
    #expect(
      try await shop.mails(2).map(\.subject) == ["Your order could not be placed", "Your order could not be placed"])
  }
}
