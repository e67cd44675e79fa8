// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirMessaging
import WeirPatterns
import WeirWire

/// Endpoints of webhooks by HTTP, as a translation: what is asked of the state process, in which order.
struct WebhookAPITests {
  private static let now = WallTime(milliseconds: 1_760_000_000_000)
  private static let settings = WebhookSettings(name: "partners", topic: "order-events")

  @Test(
    "of an address everybody sees the host: what stands behind it may be a secret",
    arguments: [
      ("https://a.example", "https://a.example"), ("https://a.example/", "https://a.example/"),
      ("https://a.example/hooks/T0/s3cret", "https://a.example/…"), ("https://a.example?t=1", "https://a.example/…"),
      ("http://10.0.0.1:8080/x", "http://10.0.0.1:8080/…"), ("https://a.example/?t=1", "https://a.example/…"),
    ])
  func shown(_ url: String, _ shown: String) {
    #expect(WebhookSubscription.shown(url) == shown)
  }

  /// A state process with nothing but documents.
  private final class State {
    var documents: [String: LogDocument] = [:]
    var versions: Int64 = 0
    var asked: [String] = []
    /// Before the next save another one comes.
    var isDisturbed = 0

    func answer(_ request: StateRequest) -> StateReply {
      switch request {
      case .document(_, let key):
        asked.append("read")
        return .document(documents[String(decoding: key, as: UTF8.self)])
      case .documents:
        asked.append("list")
        return .documentList(documents.values.sorted { $0.key.lexicographicallyPrecedes($1.key) })
      case .saveDocument(let log, let key, let body, let expected):
        asked.append("save")
        #expect(log == "webhooks.partners")
        let id = String(decoding: key, as: UTF8.self)
        let version = documents[id]?.version ?? 0
        if isDisturbed > 0 {
          isDisturbed -= 1
          versions += 1
          documents[id]?.version = versions
          return .conflict(index: 0, version: versions)
        }
        if let expected, expected != version { return .conflict(index: 0, version: version) }
        versions += 1
        documents[id] = body.isEmpty ? nil : LogDocument(key: key, version: versions, body: body)
        return .saved(version: versions)
      case .join(let log, let queue):
        asked.append("join \(queue.name)")
        #expect(log == "order-events" && queue.keyAtOnce == 1 && !queue.keepsDead)
        return .declared
      case .leave(_, let group):
        asked.append("leave \(group)")
        return .steered(1)
      case .seek: return .position(7)
      case .replay(_, let group, let from, let to):
        asked.append("replay \(group) \(from)")
        #expect(to == nil)
        return .steered(3)
      default: return .failed(.broken)
      }
    }
  }

  private let state = State()

  private func ask(_ method: String, _ path: String, _ body: String = "") -> (status: UInt16, json: [String: Any]) {
    let api = MessagingAPI(webhooks: WebhookAPI([Self.settings]))
    var random = SeededRandom(seed: 1)
    var outcome = api.parse(
      MessagingRequest(method: method, path: path, body: Array(body.utf8)), now: Self.now, using: &random)
    while true {
      switch outcome {
      case .answer(let answer):
        let json = try? JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
        return (answer.status, json ?? [:])
      case .ask(let request, let then): outcome = then.next(state.answer(request))
      }
    }
  }

  private static let list = "/webhooks/partners/endpoints"

  @Test("an endpoint is made with a secret that is shown once, and joined to the topic")
  func made() throws {
    let made = ask(
      "POST", Self.list, #"{"url":"https://a.example.com/hook","id":"a","types":["order.*"],"rate":"10/s"}"#)
    #expect(made.status == 201 && state.asked == ["save", "join webhooks.partners.a"])
    let secret = try #require(made.json["secret"] as? String)
    #expect(secret.hasPrefix("whsec_") && (try? WebhookSecret(secret)) != nil)
    let shown = ask("GET", Self.list + "/a")
    #expect(shown.status == 200 && shown.json["state"] as? String == "enabled")
    #expect(shown.json["secret"] as? String == "whsec_…" + secret.suffix(4))
    #expect((ask("GET", Self.list).json["endpoints"] as? [Any])?.count == 1)
    #expect(ask("POST", Self.list, #"{"url":"https://b.example.com/","id":"a"}"#).status == 409)
    let other = ask("POST", Self.list, #"{"url":"https://b.example.com/"}"#)
    #expect((other.json["id"] as? String)?.hasPrefix("ep-") == true)
    #expect(other.json["secret"] as? String != secret)
  }

  @Test(
    "what is no endpoint is refused with its place",
    arguments: [
      ("{}", "$.url"), (#"{"url":"https://127.0.0.1/"}"#, "$.url"), (#"{"url":"http://a.example.com/"}"#, "$.url"),
      (#"{"url":"https://a.example.com/","id":"A b"}"#, "$.id"),
      (#"{"url":"https://a.example.com/","types":[1]}"#, "$.types"),
      (#"{"url":"https://a.example.com/","rate":"fast"}"#, "$.rate"), (#"{"link":"https://a.example.com/"}"#, "$.link"),
    ])
  func refused(_ body: String, _ at: String) throws {
    let answer = ask("POST", Self.list, body)
    #expect(answer.status == 422 || answer.status == 400)
    let errors = try #require(answer.json["errors"] as? [[String: Any]])
    #expect(errors.first?["at"] as? String == at && state.asked.isEmpty)
  }

  @Test("rotation signs with both for a day; then the new one alone")
  func rotated() throws {
    let first = try #require(
      ask("POST", Self.list, #"{"url":"https://a.example.com/","id":"a"}"#).json["secret"] as? String)
    // Somebody else changes it meanwhile: it is read again.
    state.isDisturbed = 1
    let second = try #require(ask("POST", Self.list + "/a/rotate").json["secret"] as? String)
    #expect(first != second)
    let document = try #require(state.documents["a"])
    let endpoint = try #require(WebhookSubscription(document: document.body))
    #expect(endpoint.secrets.map(\.secret) == [second, first])
    let day = Self.now.milliseconds + 24 * 3_600_000
    #expect(endpoint.valid(at: WallTime(milliseconds: day - 1)).count == 2)
    #expect(endpoint.valid(at: WallTime(milliseconds: day)).count == 1)
    #expect((ask("GET", Self.list + "/a").json["signs-along"] as? [Any])?.count == 1)
    for _ in 0..<6 { _ = ask("POST", Self.list + "/a/rotate") }
    #expect(try #require(WebhookSubscription(document: state.documents["a"]?.body ?? [])).secrets.count == 4)
    // Three others in a row are too many.
    state.isDisturbed = 9
    #expect(ask("POST", Self.list + "/a/rotate").status == 503)
  }

  @Test("disabled, enabled, replayed, removed")
  func steered() throws {
    _ = ask("POST", Self.list, #"{"url":"https://a.example.com/","id":"a"}"#)
    state.asked = []
    let off = ask("POST", Self.list + "/a/disable")
    #expect(off.json["cause"] as? String == "by-operator" && off.json["disabled-at"] != nil)
    #expect(state.asked == ["read", "save", "leave webhooks.partners.a"])
    let early = ask("POST", Self.list + "/a/replay", #"{"from":"2026-01-01T00:00:00Z"}"#)
    #expect(early.status == 409)
    state.asked = []
    #expect(ask("POST", Self.list + "/a/enable").json["state"] as? String == "enabled")
    #expect(state.asked == ["read", "save", "join webhooks.partners.a"])
    let replay = ask("POST", Self.list + "/a/replay", #"{"from":"2026-01-01T00:00:00Z"}"#)
    #expect(replay.status == 202 && replay.json["replayed"] as? Int == 3)
    #expect(state.asked.last == "replay webhooks.partners.a 7")
    #expect(ask("POST", Self.list + "/a/replay", #"{"from":"yesterday"}"#).status >= 400)
    #expect(ask("DELETE", Self.list + "/a").json["state"] as? String == "deleted")
    #expect(state.asked.last == "leave webhooks.partners.a" && state.documents.isEmpty)
    #expect(ask("GET", Self.list + "/a").status == 404 && ask("POST", Self.list + "/a/enable").status == 404)
  }

  @Test(
    "paths and methods that are none",
    arguments: [
      ("GET", "/webhooks/others/endpoints", 404), ("GET", "/webhooks/partners", 404), ("PUT", list, 405),
      ("PATCH", list + "/a", 405), ("GET", list + "/a/rotate", 405), ("POST", list + "/a/explode", 404),
      ("GET", list + "/%00", 404), ("GET", list + "/" + String(repeating: "a", count: 41), 404),
    ])
  func none(_ method: String, _ path: String, _ status: UInt16) {
    #expect(ask(method, path).status == status)
  }

  @Test("types: all, one, or all that begin so")
  func types() {
    var endpoint = WebhookSubscription(url: "", created: 0, secret: "")
    #expect(endpoint.wants("") && endpoint.wants("order.paid"))
    endpoint.types = ["order.*", "user.made"]
    #expect(endpoint.wants("order.paid") && endpoint.wants("order.") && endpoint.wants("user.made"))
    #expect(!endpoint.wants("orders.paid") && !endpoint.wants("user") && !endpoint.wants(""))
  }

  @Test("what is kept of an endpoint comes back as it was")
  func kept() throws {
    var endpoint = WebhookSubscription(url: "https://a.example.com/", created: 5, secret: "whsec_x")
    endpoint.types = ["a"]
    endpoint.rate = 0.5
    var record = WebhookEndpoint.Record()
    record.disabled = .failing
    record.failingSince = Instant(nanoseconds: 1_760_000_000_000_000_000)
    record.failures = 12
    endpoint.record = record
    let again = try #require(WebhookSubscription(document: endpoint.document))
    #expect(again == endpoint && again.record == record)
    #expect(WebhookSubscription(document: Array("{}".utf8)) == nil)
  }
}
