// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirMessaging
import WeirWire

/// What is brought to a group's service.
@Suite struct GroupDeliveryTests {
  private static func message(
    _ position: Int64, id: String = "e", key: String = "", type: String = "", fields: String = "", attempt: UInt16 = 1,
    _ body: String
  ) -> LeasedMessage {
    LeasedMessage(
      sequence: position + 100, attempt: attempt, until: 0, enqueuedAt: 0,
      message: NewMessage(
        id: Array("\(position)".utf8), key: Array(key.utf8), fields: Array(fields.utf8), body: Array(body.utf8)),
      entry: MessageEntry(
        position: position, version: position / 2, at: QueueAPITests.now.milliseconds, id: Array(id.utf8),
        type: Array(type.utf8)))
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  private static let json = "content-type: application/json\r\n"
  private static let event =
    "ce-specversion: 1.0\r\nce-id: 8\r\nce-source: /s\r\nce-type: t\r\ncontent-type: application/json\r\n"

  @Test("one event goes as it came, and says where it stands")
  func single() {
    let delivery = GroupDelivery(
      Self.message(41, id: "e-1", key: "k é", type: "Paid", fields: Self.event, attempt: 2, #"{"a": 1}"#),
      log: "order-events", isStream: false, group: "stock")
    #expect(Self.text(delivery.fields) == Self.event && Self.text(delivery.body) == #"{"a": 1}"#)
    #expect(
      Self.text(delivery.lines)
        == "Weir-Topic: order-events\r\nWeir-Group: stock\r\nWeir-Id: e-1\r\nWeir-Key: k é\r\nWeir-Type: Paid\r\n"
        + "Weir-Position: 41\r\nWeir-Version: 20\r\nWeir-Attempt: 2\r\nWeir-Enqueued-At: 2026-11-22T00:00:00.000Z\r\n")
    #expect(delivery.idempotencyKey.map(Self.text) == "order-events.stock/41")
    let bare = GroupDelivery(Self.message(1, "x"), log: "ledger", isStream: true, group: "list")
    #expect(
      Self.text(bare.lines).hasPrefix("Weir-Stream: ledger\r\nWeir-Group: list\r\nWeir-Id: e\r\nWeir-Position: 1\r\n"))
  }

  @Test("several that are plain JSON go as a list, in the order of their positions")
  func list() {
    let delivery = GroupDelivery(
      batch: [
        Self.message(9, fields: Self.json, #"{"n":9.0}"#), Self.message(7, fields: Self.json, attempt: 3, "[7]"),
      ], log: "t", isStream: false, group: "g")
    #expect(Self.text(delivery.body) == #"[[7],{"n":9.0}]"#)
    #expect(Self.text(delivery.fields) == "content-type: application/json\r\n")
    #expect(
      Self.text(delivery.lines)
        == "Weir-Topic: t\r\nWeir-Group: g\r\nWeir-Count: 2\r\nWeir-Position: 7\r\nWeir-Last-Position: 9\r\nWeir-Attempt: 3\r\n"
    )
    #expect(delivery.idempotencyKey == nil)
  }

  @Test(
    "a CloudEvent or what is no JSON among them makes it a batch of CloudEvents, with nothing lost", arguments: [0, 1])
  func events(which: Int) throws {
    let other =
      [Self.message(8, id: "/s|8", key: "k", type: "t", fields: Self.event, "{}"), Self.message(8, id: "p", "\u{7}")][
        which]
    let delivery = GroupDelivery(
      batch: [other, Self.message(7, fields: Self.json, "[7]")], log: "t", isStream: false, group: "g")
    #expect(Self.text(delivery.fields) == "content-type: application/cloudevents-batch+json\r\n")
    let events = try CloudEvent.read(jsonBatch: delivery.body)
    #expect(events.map(\.id) == (which == 0 ? ["e", "8"] : ["e", "p"]))
    #expect(events[0].data == Array("[7]".utf8) && events[1].data == Array((which == 0 ? "{}" : "\u{7}").utf8))
    #expect(events.allSatisfy { $0.extensions.contains { $0.name == "weirposition" } })
  }
}
