// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The shop under `weir run`: payments killed, mail down, and in the end every order done once or taken back once.
  @Suite struct ShopTests {
    private static let instances = 13

    /// The shop's file on a port of our own, with its Python programs beside it; all of them listen to faults.
    private func write(_ field: Field) throws {
      let shop = Program.root + "/examples/shop"
      for name in ["program.py", "mailer.py", "partner.py", "schemas"] {
        try FileManager.default.copyItem(atPath: shop + "/" + name, toPath: field.folder + "/" + name)
      }
      var lines = Program.read(shop + "/weir.yaml").replacingOccurrences(of: "8080", with: "\(field.port)")
        .components(separatedBy: "\n")
      for (index, line) in lines.enumerated() where line.hasPrefix("    run: ") {
        let command = line.dropFirst(9).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
        lines[index] = "    run: { command: \"\(command)\", env: { WEIR_EXAMPLE_FAULTS: \(Field.faultToken) } }"
      }
      try field.write(lines.joined(separator: "\n"))
    }

    /// Starts it and waits until it is ready.
    private func start(_ field: Field) async throws -> Program {
      try write(field)
      let run = try field.run()
      try await eventually("the shop is ready:\n\(run.out)\n\(run.err)", within: .seconds(120)) {
        guard run.isRunning else { throw Mistake("the run ended early:\n\(run.out)\n\(run.err)") }
        guard let status = try? await field.status() else { return false }
        return status.services.flatMap(\.instances).count { $0.state == "ready" && $0.pid != nil } == Self.instances
      }
      return run
    }

    private func fault(_ field: Field, _ service: String, _ json: String) async throws {
      for instance in ["\(service)-1", "\(service)-2"] { try await field.fault(instance, json) }
    }

    private func killAll(_ service: String, _ field: Field) async throws {
      for instance in try await field.status().services.first(where: { $0.name == service })?.instances ?? [] {
        if let pid = instance.pid { kill(pid, SIGKILL) }
      }
    }

    /// What a program has in its database.
    private func rows(_ field: Field, _ database: String, _ sql: String) async throws -> [[String]] {
      let script = """
        import json, sqlite3, sys
        db = sqlite3.connect(sys.argv[1], timeout=30)
        print(json.dumps([[str(value) for value in row] for row in db.execute(sys.argv[2])]))
        """
      let python = try Program(
        "/usr/bin/env", ["python3", "-c", script, "\(field.folder)/data/\(database).db", sql], in: field.folder)
      guard try await python.end(within: .seconds(60)) == 0 else { throw Mistake("\(database): \(python.err)") }
      return try JSONDecoder().decode([[String]].self, from: Data(python.out.utf8))
    }

    private struct Wish: Sendable {
      var order: String
      var customer: String
      var product: String
    }

    /// Puts something into a cart and orders it, again and again until it is taken.
    private func place(_ wish: Wish, _ field: Field) async throws {
      let cart = #"{"lines":[{"product":"\#(wish.product)","quantity":1}]}"#
      try await eventually("the cart of \(wish.customer) is kept", within: .seconds(120)) {
        (try? await field.ask("/api/carts/\(wish.customer)", "PUT", body: cart))?.status == 200
      }
      let body = #"{"customer_id":"\#(wish.customer)","email":"\#(wish.customer)@example.com"}"#
      try await eventually("the order \(wish.order) is taken", within: .seconds(120)) {
        let reply = try? await field.ask(
          "/api/orders", "POST", fields: ["Idempotency-Key": wish.order], body: body)
        return reply?.status == 202
      }
    }

    private struct Progress: Decodable { var state: String }

    /// `finished` or `compensated`, when it has come to that.
    private func end(of order: String, _ field: Field) async throws -> String {
      var state = "unknown"
      try await eventually("the order \(order) ends; it is \(state)", within: .seconds(240)) {
        guard let reply = try? await field.ask("/api/orders/\(order)?wait=5s"), reply.status == 200 else {
          return false
        }
        state = try JSONDecoder().decode(Progress.self, from: Data(reply.text.utf8)).state
        return state == "finished" || state == "compensated"
      }
      return state
    }

    @Test(
      "orders while payments are killed, mail is down and Weir is upgraded: done once or taken back once, told once, mailed later"
    )
    func ordersAreDoneOnce() async throws {
      try await Field.with { field in
        let run = try await start(field)
        try await eventually("the partner has registered", within: .seconds(120)) {
          try await !rows(field, "partner", "SELECT 1 FROM secrets").isEmpty
        }
        try await fault(field, "mailer", #"{"health":false,"status":503}"#)
        // Each dies of its first order: the money is held, and nobody is told.
        try await fault(field, "payments", #"{"die":"after"}"#)

        var wishes: [Wish] = []
        for i in 0..<12 {
          let product = ["mug", "lamp", "umbrella", "chair"][i % 4]
          let wish = Wish(order: "order-\(i)", customer: "customer-\(i % 6)-\(i)", product: product)
          wishes.append(wish)
          try await place(wish, field)
          if i % 4 == 3 { try await killAll("payments", field) }
          // Under sagas, queues and groups that are at work.
          if i == 5 {
            let upgrade = try await field.verb([
              "upgrade", field.file, "--state", field.state, "--to", Program.bin + "/weir",
            ])
            #expect(upgrade.code == 0 && upgrade.out.contains("upgraded"), "\(upgrade)")
          }
        }
        var ends: [String: String] = [:]
        for wish in wishes { ends[wish.order] = try await end(of: wish.order, field) }
        let placed = Set(ends.filter { $0.value == "finished" }.keys)
        let taken = Set(ends.filter { $0.value == "compensated" }.keys)
        #expect(placed.count + taken.count == wishes.count)
        #expect(wishes.allSatisfy { $0.product != "umbrella" || taken.contains($0.order) })
        #expect(wishes.count { $0.product == "chair" && placed.contains($0.order) } <= 1)

        // The money: held once for what is placed, and none for the rest.
        let money = try await rows(
          field, "payments", "SELECT order_id, sum(cents > 0), sum(cents < 0) FROM movements GROUP BY order_id")
        for row in money {
          #expect(row[1] == "1" && row[2] == (placed.contains(row[0]) ? "0" : "1"), "\(row)")
        }
        #expect(placed.isSubset(of: Set(money.map { $0[0] })))

        // What the stream's events are told to, each at its own pace.
        try await eventually("what is placed has left the house, once", within: .seconds(240)) {
          let shipped = try await rows(
            field, "inventory", "SELECT order_id, count(*) FROM movements WHERE kind = 'ship' GROUP BY order_id")
          #expect(shipped.allSatisfy { $0[1] == "1" && placed.contains($0[0]) }, "\(shipped)")
          return Set(shipped.map { $0[0] }) == placed
        }
        let open = try await rows(field, "inventory", "SELECT sum(reserved) FROM stock")
        #expect(open == [["0"]])
        try await eventually("the list of orders is right", within: .seconds(240)) {
          let list = try await rows(field, "orders", "SELECT order_id, state FROM orders")
          let states = Dictionary(list.map { ($0[0], $0[1]) }) { first, _ in first }
          return states.count == wishes.count
            && wishes.allSatisfy { states[$0.order] == (placed.contains($0.order) ? "placed" : "rejected") }
        }
        try await eventually("the partner has heard of what was placed", within: .seconds(240)) {
          let heard = try await rows(field, "partner", "SELECT order_id FROM heard WHERE type = 'OrderPlaced'")
          return heard.map { $0[0] }.sorted() == placed.sorted()
        }
        #expect(try await rows(field, "partner", "SELECT count(*) FROM deliveries WHERE verified = 0") == [["0"]])
        let forged = try await field.ask(
          "/partner/hook", "POST",
          fields: ["webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"], body: "{}")
        #expect(forged.status == 401)

        // Mail was down all the time; what waits is sent when it is back.
        #expect(try await rows(field, "mails", "SELECT count(*) FROM mails") == [["0"]])
        try await fault(field, "mailer", "{}")
        try await eventually("each order has its mail", within: .seconds(240)) {
          try await rows(field, "mails", "SELECT DISTINCT order_id FROM mails").count == wishes.count
        }
        #expect(try await rows(field, "mails", "SELECT count(*) FROM mails") == [["\(wishes.count)"]])
        Claims.holds(
          true, "the shop: orders while payments are killed and mail is down end once, and are told and mailed once",
          "\(placed.count) placed, \(taken.count) taken back, \(wishes.count) mails")
        run.ctrlC()
        #expect(try await run.end(within: .seconds(120)) == 0)
        field.expectClear("after the shop")
      }
    }

    @Test("the shop in Chromium, also while payments are killed and mail is down")
    func theShopIsUsedInABrowser() async throws {
      try await Field.with { field in
        guard try await Browser.isThere(field) else { return }
        let run = try await start(field)
        let base = "http://127.0.0.1:\(field.port)"
        let walk = try Browser.walk("shop.py", ["--base", base], field)
        let code = try await walk.end(within: .seconds(400))
        let seen = walk.out.split(separator: "\n").filter { $0.hasPrefix("seen: ") }
        Claims.holds(
          code == 0 && seen.count >= 8, "Chromium: an order in the shop placed, declined, by keyboard, and its mail",
          "\(seen.count) steps seen, exit code \(code)\(code == 0 ? "" : "\n\(walk.out)\n\(walk.err)")")

        try await fault(field, "mailer", #"{"health":false,"status":503}"#)
        try await fault(field, "payments", #"{"die":"after"}"#)
        let trouble = try Browser.walk("shop.py", ["--base", base, "--trouble"], field)
        try await eventually("it has ordered\n\(trouble.out)\n\(trouble.err)", within: .seconds(120)) {
          trouble.out.contains("ordered: ") || !trouble.isRunning
        }
        try await killAll("payments", field)
        try await eventually("its mail waits\n\(trouble.out)\n\(trouble.err)", within: .seconds(300)) {
          trouble.out.contains("mail: waits") || !trouble.isRunning
        }
        try await fault(field, "mailer", "{}")
        let end = try await trouble.end(within: .seconds(300))
        #expect(end == 0, "\(trouble.out)\n\(trouble.err)")
        let line = trouble.out.split(separator: "\n").first { $0.hasPrefix("ordered: ") }
        let order = try #require(line).dropFirst("ordered: ".count)
        let mails = try await rows(field, "mails", "SELECT count(*) FROM mails WHERE order_id = '\(order)'")
        let money = try await rows(
          field, "payments", "SELECT sum(cents > 0) FROM movements WHERE order_id = '\(order)'")
        Claims.holds(
          end == 0 && mails == [["1"]] && money == [["1"]],
          "Chromium: an order while payments are killed and mail is down ends, and its mail is sent when mail is back",
          "\(mails) mails, \(money) payments, exit code \(end)")
        run.ctrlC()
        #expect(try await run.end(within: .seconds(120)) == 0)
      }
    }
  }
}
