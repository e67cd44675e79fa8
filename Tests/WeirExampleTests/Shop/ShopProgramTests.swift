// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestPrograms
import Testing

/// The shop's programs as processes: what they owe a saga, a queue and a topic, also when they are killed.
@Suite(.timeLimit(.minutes(5)))
struct ShopProgramTests {
  private func program(
    _ name: String, _ folder: Folder, environment: [String: String] = [:]
  ) async throws -> RunningProgram {
    let data = name == "web" ? [] : ["--database", folder.path("\(name).db")]
    return try await RunningProgram(["shop", name] + data, environment: environment)
  }

  private static func order(_ id: String, cents: Int = 1450, quantity: Int = 1, product: String = "mug") -> String {
    """
    {"order_id":"\(id)","customer_id":"c-1","email":"ann@example.com","total_cents":\(cents * quantity),
     "lines":[{"product":"\(product)","name":"\(product)","quantity":\(quantity),"cents":\(cents)}]}
    """
  }

  private func step(_ program: RunningProgram, _ path: String, _ order: String, key: String) async throws -> Answer {
    try await program.send(
      "POST", path, body: Data(order.utf8), fields: ["content-type": "application/json", "idempotency-key": key])
  }

  struct Payment: Decodable, Equatable {
    var state: String
    var movements: Int
    var cents: Int
  }

  private func payment(_ payments: RunningProgram, _ order: String) async throws -> Payment {
    try await payments.get("/payments/\(order)").json(Payment.self)
  }

  @Test("a payment is made once under its key, and taken back once")
  func payments() async throws {
    let folder = try Folder()
    let payments = try await program("payments", folder)
    for _ in 0..<3 {
      let answer = try await step(payments, "/authorize", Self.order("a"), key: "a/1")
      #expect(answer.status == 200 && answer.text == "{\"authorized_cents\":1450}")
    }
    #expect(try await payment(payments, "a") == Payment(state: "authorized", movements: 1, cents: 1450))
    for _ in 0..<3 { #expect(try await step(payments, "/void", Self.order("a"), key: "a/1/undo").status == 200) }
    #expect(try await payment(payments, "a") == Payment(state: "voided", movements: 2, cents: 0))
    // Without a key it could be done twice.
    #expect(try await payments.post("/authorize", json: Self.order("b")).status == 400)
    #expect(try await payments.get("/payments/b").status == 404)
  }

  @Test("an amount that ends in 13 is declined, each time it is asked for; its undo changes nothing")
  func declined() async throws {
    let folder = try Folder()
    let payments = try await program("payments", folder)
    for key in ["a/1", "a/1", "again"] {
      let answer = try await step(payments, "/authorize", Self.order("a", cents: 1913), key: key)
      #expect(answer.status == 402 && answer.field("content-type") == "application/problem+json")
    }
    #expect(try await step(payments, "/void", Self.order("a", cents: 1913), key: "a/1/undo").status == 200)
    #expect(try await payment(payments, "a") == Payment(state: "declined", movements: 0, cents: 0))
  }

  @Test("an undo that comes before its step succeeds, and bars the step")
  func barred() async throws {
    let folder = try Folder()
    let payments = try await program("payments", folder)
    let inventory = try await program("inventory", folder)
    #expect(try await step(payments, "/void", Self.order("a"), key: "a/1/undo").status == 200)
    #expect(try await step(payments, "/authorize", Self.order("a"), key: "a/1").status == 422)
    #expect(try await payment(payments, "a") == Payment(state: "barred", movements: 0, cents: 0))
    #expect(try await step(inventory, "/release", Self.order("a"), key: "a/2/undo").status == 200)
    #expect(try await step(inventory, "/reserve", Self.order("a"), key: "a/2").status == 422)
    #expect(try await left(inventory)["mug"] == 1_000_000)
  }

  @Test("killed after its work and before the answer, it answers the same when it is asked again, and has done it once")
  func killed() async throws {
    let folder = try Folder()
    for (death, movements) in [("before", 0), ("after", 1)] {
      let order = "killed-\(death)"
      let first = try await program("payments", folder)
      #expect(try await first.faults("{\"die\":\"\(death)\"}").status == 200)
      _ = try? await step(first, "/authorize", Self.order(order), key: order)
      #expect(try await first.waitForEnd().code == -SIGKILL)
      let second = try await program("payments", folder)
      if movements == 0 {
        #expect(try await second.get("/payments/\(order)").status == 404)
      } else {
        #expect(try await payment(second, order).movements == 1)
      }
      #expect(try await step(second, "/authorize", Self.order(order), key: order).status == 200)
      #expect(try await payment(second, order) == Payment(state: "authorized", movements: 1, cents: 1450))
    }
  }

  private func left(_ inventory: RunningProgram) async throws -> [String: Int] {
    try await inventory.get("/stock").json([String: Int].self)
  }

  @Test("what is reserved is not there for others; the last one goes to one of two; what is released is there again")
  func stock() async throws {
    let folder = try Folder()
    let inventory = try await program("inventory", folder)
    let chair = { (id: String) in Self.order(id, cents: 12_900, product: "chair") }
    for _ in 0..<2 { #expect(try await step(inventory, "/reserve", chair("a"), key: "a/2").status == 200) }
    let second = try await step(inventory, "/reserve", chair("b"), key: "b/2")
    #expect(second.status == 422 && second.text.contains("sold out"))
    #expect(try await left(inventory)["chair"] == 0)
    for _ in 0..<2 { #expect(try await step(inventory, "/release", chair("a"), key: "a/2/undo").status == 200) }
    #expect(try await left(inventory)["chair"] == 1)
    // The refusal was an answer: the same question has the same one.
    #expect(try await step(inventory, "/reserve", chair("b"), key: "b/2").status == 422)
    #expect(try await step(inventory, "/reserve", chair("c"), key: "c/2").status == 200)
  }

  @Test("an event that comes twice is heard once; one that overtook another is sent back until that one is here")
  func events() async throws {
    let folder = try Folder()
    let inventory = try await program("inventory", folder)
    #expect(try await step(inventory, "/reserve", Self.order("a", quantity: 5), key: "a/2").status == 200)
    func event(_ type: String, _ version: Int) async throws -> Int {
      let json = """
        {"type":"\(type)","order_id":"a","version":\(version),"customer_id":"c-1","at":"2026-11-22T03:00:00.000Z",
         "total_cents":7250,"lines":[{"product":"mug","name":"mug","quantity":5,"cents":1450}]}
        """
      return try await inventory.post("/events", json: json).status
    }
    #expect(try await event("OrderPlaced", 2) == 425)
    #expect(try await event("OrderOpened", 1) == 200)
    for _ in 0..<3 { #expect(try await event("OrderPlaced", 2) == 200) }
    #expect(try await event("OrderOpened", 1) == 200)
    #expect(try await left(inventory)["mug"] == 999_995)
    // It has left the house: what would undo the reservation is refused.
    #expect(try await step(inventory, "/release", Self.order("a", quantity: 5), key: "late").status == 422)
  }

  @Test("the list of orders takes each event once and in its order, and empties the cart of what was bought")
  func projection() async throws {
    let folder = try Folder()
    let orders = try await program("orders", folder)
    #expect(
      try await orders.send(
        "PUT", "/api/carts/c-1",
        body: Data("{\"lines\":[{\"product\":\"mug\",\"quantity\":2},{\"product\":\"pen\",\"quantity\":1}]}".utf8),
        fields: ["content-type": "application/json"]
      ).status == 200)
    func event(_ type: String, _ version: Int) async throws -> Int {
      let json = """
        {"type":"\(type)","order_id":"a","customer_id":"c-1","at":"2026-11-22T03:00:0\(version).000Z",
         "total_cents":2900,"lines":[{"product":"mug","name":"Mug","quantity":2,"cents":1450}]}
        """
      return try await orders.send(
        "POST", "/project", body: Data(json.utf8),
        fields: ["content-type": "application/json", "weir-version": "\(version)"]
      ).status
    }
    #expect(try await event("OrderPlaced", 2) == 425)
    #expect(try await orders.get("/api/orders?customer=c-1").text == "[]")
    for _ in 0..<2 { #expect(try await event("OrderOpened", 1) == 200) }
    #expect(try await orders.get("/api/orders?customer=c-1").text.contains("\"state\":\"open\""))
    for _ in 0..<2 { #expect(try await event("OrderPlaced", 2) == 200) }
    let list = try await orders.get("/api/orders?customer=c-1").text
    #expect(list.contains("\"state\":\"placed\"") && list.components(separatedBy: "order_id").count == 2)
    #expect(try await orders.get("/api/carts/c-1").text == "{\"lines\":[{\"product\":\"pen\",\"quantity\":1}]}")
    #expect(try await orders.get("/api/orders?customer=c-2").text == "[]")
    // The clock's run, delivered twice, is one report.
    for _ in 0..<2 {
      let report = try await step(orders, "/report", "{}", key: "report@2026-11-22T03:00:00.000Z")
      #expect(report.text == "{\"placed\":1,\"placed_cents\":2900,\"rejected\":0}")
    }
  }

  @Test(
    "what is wrong with a request is said as a problem",
    arguments: [
      ("PUT", "/api/carts/c-1", "{\"lines\":[{\"product\":\"mug\",\"quantity\":0}]}", 400),
      ("PUT", "/api/carts/c-1", "{\"lines\":[{\"product\":\"m/g\",\"quantity\":1}]}", 400),
      (
        "PUT", "/api/carts/c-1",
        "{\"lines\":[{\"product\":\"mug\",\"quantity\":1},{\"product\":\"mug\",\"quantity\":2}]}", 400
      ),
      ("GET", "/api/orders?customer=a%2Fb", "", 400), ("GET", "/api/orders", "", 400),
      ("POST", "/api/orders", "{\"customer_id\":\"c-1\",\"email\":\"ann@example.com\"}", 400),
      ("POST", "/project", order("a"), 400), ("GET", "/api/orders/a?wait=1h", "", 503),
    ])
  func problems(method: String, path: String, body: String, status: Int) async throws {
    let folder = try Folder()
    let orders = try await program("orders", folder)
    let answer = try await orders.send(
      method, path, body: body.isEmpty ? nil : Data(body.utf8),
      fields: body.isEmpty ? [:] : ["content-type": "application/json"])
    #expect(answer.status == status, "\(answer.text)")
    #expect(answer.field("content-type") == "application/problem+json")
  }

  @Test("the catalogue goes on without the inventory, and says so; its page has all it needs")
  func catalogue() async throws {
    let folder = try Folder()
    let catalog = try await program("catalog", folder, environment: ["WEIR_URL": "http://127.0.0.1:1/from/catalog"])
    let answer = try await catalog.get("/api/products")
    #expect(answer.status == 200 && answer.field("x-degraded") == "inventory")
    #expect(answer.text.contains("Stoneware mug") && !answer.text.contains("\"left\""))
    let web = try await program("web", folder)
    for path in ["/", "/shop.css", "/shop.js", "/shop-api.js", "/shop-view.js", "/shop.svg"] {
      #expect(try await web.get(path).status == 200)
    }
  }
}
