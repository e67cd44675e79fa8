// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing
import WeirBase
import WeirMessaging

/// Standard Webhooks: what is signed, and what is taken for genuine.
@Suite struct WebhookSignatureTests {
  static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
  static let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
  /// The first vector of RFC 8032 §7.1: a seed, and its public key.
  static let seed: [UInt8] = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
  static let publicKey: [UInt8] = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

  static func hex(_ text: String) -> [UInt8] {
    stride(from: 0, to: text.count, by: 2).compactMap { UInt8(text.dropFirst($0).prefix(2), radix: 16) }
  }

  static func secrets(_ texts: String...) throws -> [WebhookSecret] { try texts.map { try WebhookSecret($0) } }

  static let now = WallTime(milliseconds: 1_614_265_330_000)
  static let body = Array(#"{"test": 2432232314}"#.utf8)
  static let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"

  // The vector that the reference libraries test themselves with.
  @Test("the signature of the reference libraries")
  func vector() throws {
    let signature = WebhookSignature.sign(
      id: Self.id, at: Self.now, body: Self.body, with: try Self.secrets(Self.secret))
    #expect(signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    // A secret without its prefix is the same one.
    let bare = try Self.secrets(String(Self.secret.dropFirst(6)))
    #expect(WebhookSignature.sign(id: Self.id, at: Self.now, body: Self.body, with: bare) == signature)
  }

  private func verdict(
    _ signature: String?, id: String? = Self.id, timestamp: String? = "1614265330", body: [UInt8] = Self.body,
    secrets: [String] = [Self.secret], now: WallTime = Self.now
  ) throws -> WebhookSignature.Verdict {
    WebhookSignature.verify(
      .init(id: id, timestamp: timestamp, signature: signature), body: body,
      with: try secrets.map { try WebhookSecret($0) }, now: now)
  }

  private let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

  @Test("what was signed is genuine; a change of any byte, of id or time, is not")
  func genuine() throws {
    #expect(try verdict(good) == .genuine(id: Self.id, at: Self.now))
    for i in Self.body.indices {
      var body = Self.body
      body[i] ^= 1
      #expect(try verdict(good, body: body) == .refused(.signature))
    }
    #expect(try verdict(good, id: Self.id + "x") == .refused(.signature))
    #expect(try verdict(good, timestamp: "1614265331") == .refused(.signature))
    #expect(try verdict(good, secrets: [Self.other]) == .refused(.signature))
    #expect(try verdict(good, body: Self.body + [0x0a]) == .refused(.signature))
  }

  @Test("what came is taken out of a request's fields, each of which stands there once")
  func received() {
    let fields = [("Webhook-Id", "a"), ("WEBHOOK-TIMESTAMP", "1"), ("webhook-signature", "s")].map {
      MessagingField($0.0, $0.1)
    }
    let received = WebhookSignature.Received(fields)
    #expect(received.id == "a" && received.timestamp == "1" && received.signature == "s")
    #expect(WebhookSignature.Received(fields + [MessagingField("webhook-id", "b")]).id == nil)
    #expect(WebhookSignature.Received([]).signature == nil)
  }

  @Test("it may be five minutes old or ahead, and not a second more")
  func tolerance() throws {
    for (seconds, isIn) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] as [(Int64, Bool)] {
      let now = WallTime(milliseconds: Self.now.milliseconds - seconds * 1000)
      #expect(
        try verdict(good, now: now)
          == (isIn ? .genuine(id: Self.id, at: Self.now) : .refused(.time(seconds: seconds))))
    }
    #expect(
      WebhookSignature.Refusal.time(seconds: -301).sentence == "it was signed 301 s ago, more than 300")
  }

  @Test("each of several signatures by each of several secrets, while one is rotated")
  func rotation() throws {
    let both = try #require(
      WebhookSignature.sign(
        id: Self.id, at: Self.now, body: Self.body, with: try Self.secrets(Self.other, Self.secret)))
    #expect(both.split(separator: " ").count == 2 && both.hasSuffix(good))
    for secrets in [[Self.secret], [Self.other], [Self.other, Self.secret]] {
      #expect(try verdict(both, secrets: secrets) == .genuine(id: Self.id, at: Self.now))
    }
    #expect(try verdict(good, secrets: [Self.other, Self.secret]) == .genuine(id: Self.id, at: Self.now))
    // Schemes that are not known, and what is no signature, are passed over.
    #expect(try verdict("v2,abc v1 v1, , v1a,AAAA \(good)") == .genuine(id: Self.id, at: Self.now))
  }

  @Test(
    "fields that are missing or malformed",
    arguments: [
      (nil, "1614265330", "v1,AAAA", WebhookSignature.idField), ("", "1614265330", "v1,AAAA", WebhookSignature.idField),
      ("a.b", "1614265330", "v1,AAAA", WebhookSignature.idField),
      ("a b", "1614265330", "v1,AAAA", WebhookSignature.idField),
      (String(repeating: "a", count: 257), "1614265330", "v1,AAAA", WebhookSignature.idField),
      ("a", nil, "v1,AAAA", WebhookSignature.timestampField), ("a", "", "v1,AAAA", WebhookSignature.timestampField),
      ("a", "-1", "v1,AAAA", WebhookSignature.timestampField),
      ("a", "1614265330.5", "v1,AAAA", WebhookSignature.timestampField),
      ("a", "9999999999999", "v1,AAAA", WebhookSignature.timestampField),
      ("a", "１６", "v1,AAAA", WebhookSignature.timestampField),
      ("a", "1614265330", nil, WebhookSignature.signatureField),
      ("a", "1614265330", "", WebhookSignature.signatureField),
      ("a", "1614265330", String(repeating: "v1,AAAA ", count: 17), WebhookSignature.signatureField),
    ] as [(String?, String?, String?, String)])
  func malformed(id: String?, timestamp: String?, signature: String?, field: String) throws {
    #expect(try verdict(signature, id: id, timestamp: timestamp) == .refused(.field(field)))
  }

  @Test("ed25519: the seed of RFC 8032's first vector signs, and its public half verifies")
  func asymmetric() throws {
    let signing = "whsk_" + Data(Self.seed).base64EncodedString()
    let both = "whsk_" + Data(Self.seed + Self.publicKey).base64EncodedString()
    let verifying = "whpk_" + Data(Self.publicKey).base64EncodedString()
    #expect(try WebhookSecret(signing).publicHalf == verifying)
    #expect(try WebhookSecret(both).publicHalf == verifying)
    let signature = try #require(
      WebhookSignature.sign(id: Self.id, at: Self.now, body: Self.body, with: try Self.secrets(signing)))
    #expect(signature.hasPrefix("v1a,"))
    for secrets in [[signing], [verifying], [Self.secret, verifying]] {
      #expect(try verdict(signature, secrets: secrets) == .genuine(id: Self.id, at: Self.now))
    }
    #expect(try verdict(signature, body: [1], secrets: [verifying]) == .refused(.signature))
    // The same bytes under the other scheme's name are nothing.
    #expect(try verdict("v1," + signature.dropFirst(4), secrets: [verifying]) == .refused(.signature))
    // Who can only verify signs nothing.
    #expect(WebhookSignature.sign(id: "a", at: Self.now, body: [], with: try Self.secrets(verifying)) == nil)
    #expect(WebhookSignature.sign(id: "a.b", at: Self.now, body: [], with: try Self.secrets(Self.secret)) == nil)
    #expect(WebhookSignature.sign(id: "a", at: Self.now, body: [], with: []) == nil)
  }

  private func flaw(_ text: String) -> WebhookSecret.Flaw? {
    do throws(WebhookSecret.Flaw) {
      _ = try WebhookSecret(text)
      return nil
    } catch { return error }
  }

  @Test("secrets that are none say why; none is ever printed")
  func flaws() throws {
    #expect(flaw("") == .length(bytes: 0, kind: "whsec_"))
    #expect(flaw("whsec_***") == .notBase64)
    #expect(flaw("whsec_AAAA") == .length(bytes: 3, kind: "whsec_"))
    #expect(flaw("whsec_" + Data(repeating: 1, count: 23).base64EncodedString()) != nil)
    #expect(flaw("whsec_" + Data(repeating: 1, count: 24).base64EncodedString()) == nil)
    #expect(flaw("whsec_" + Data(repeating: 1, count: 64).base64EncodedString()) == nil)
    #expect(flaw("whsec_" + Data(repeating: 1, count: 65).base64EncodedString()) != nil)
    #expect(flaw("whsk_" + Data(repeating: 1, count: 31).base64EncodedString())?.sentence.contains("31") == true)
    #expect(flaw("whsk_" + Data(Self.seed + Self.seed).base64EncodedString()) != nil)
    #expect(flaw("whpk_" + Data(repeating: 1, count: 33).base64EncodedString()) != nil)
    // Without padding, as some write it.
    #expect(flaw(String(Self.other.dropLast())) == nil)
    #expect("\(try WebhookSecret(Self.secret))" == "whsec_…")
  }

  // The reference library for Python, both ways round.
  @Test(
    "the package standardwebhooks takes what we sign, and we take what it signs",
    .enabled(if: Judge.has("standardwebhooks")))
  func judged() throws {
    let now = WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
    let body = Array(#"{"type":"order.placed","data":{"id":7,"name":"Zoë"}}"#.utf8)
    let signature = try #require(
      WebhookSignature.sign(id: "msg_1", at: now, body: body, with: try Self.secrets(Self.other, Self.secret)))
    let answer = try Judge.ask([
      "webhook", Self.secret, "msg_1", "\(now.milliseconds / 1000)", signature, String(decoding: body, as: UTF8.self),
    ])
    let lines = answer.split(separator: "\n").map(String.init)
    #expect(lines.first == "genuine")
    #expect(
      try verdict(lines.last, id: "msg_1", timestamp: "\(now.milliseconds / 1000)", body: body, now: now)
        == .genuine(id: "msg_1", at: WallTime(milliseconds: now.milliseconds / 1000 * 1000)))
  }
}
