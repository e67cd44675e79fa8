// SPDX-License-Identifier: Apache-2.0
import Crypto
import CryptoExtras
import Foundation
import Testing
import WeirIdentity

/// An issuer of tests: a key of each kind, and tokens signed with them.
struct Issuer: Sendable {
  let p256 = P256.Signing.PrivateKey()
  let p384 = P384.Signing.PrivateKey()
  let p521 = P521.Signing.PrivateKey()
  let ed = Curve25519.Signing.PrivateKey()
  let rsa: _RSA.Signing.PrivateKey
  var name = "a"

  init(name: String = "a") throws {
    rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
    self.name = name
  }

  static func text(_ bytes: some Sequence<UInt8>) -> String { Base64Text.encode(bytes, forURL: true) }

  private static func ec(_ id: String, _ curve: String, _ raw: Data) -> String {
    let half = raw.count / 2
    return """
      {"kty":"EC","kid":"\(id)","crv":"\(curve)","x":"\(text(raw.prefix(half)))","y":"\(text(raw.suffix(half)))"}
      """
  }

  var set: String {
    let primitives = try? rsa.publicKey.getKeyPrimitives()
    let n = Issuer.text(primitives?.modulus ?? Data())
    let e = Issuer.text(primitives?.publicExponent ?? Data())
    return """
      {"keys":[{"kty":"oct","kid":"secret","k":"AAAA"},
      {"kty":"RSA","kid":"\(name)-rsa","use":"sig","n":"\(n)","e":"\(e)"},
      \(Issuer.ec("\(name)-p256", "P-256", p256.publicKey.rawRepresentation)),
      \(Issuer.ec("\(name)-p384", "P-384", p384.publicKey.rawRepresentation)),
      \(Issuer.ec("\(name)-p521", "P-521", p521.publicKey.rawRepresentation)),
      {"kty":"OKP","kid":"\(name)-ed","crv":"Ed25519","x":"\(Issuer.text(ed.publicKey.rawRepresentation))"}]}
      """
  }

  func keyName(_ algorithm: SignatureAlgorithm) -> String {
    switch algorithm {
    case .es256: "\(name)-p256"
    case .es384: "\(name)-p384"
    case .es512: "\(name)-p521"
    case .edDSA: "\(name)-ed"
    default: "\(name)-rsa"
    }
  }

  func token(
    _ algorithm: SignatureAlgorithm = .es256, head: String? = nil,
    payload: String = #"{"iss":"me","aud":"shop","sub":"alice","exp":2000,"roles":["buyer"],"scope":"read write"}"#
  ) throws -> String {
    let head = head ?? #"{"alg":"\#(algorithm.rawValue)","kid":"\#(keyName(algorithm))"}"#
    let signed = "\(Issuer.text(head.utf8)).\(Issuer.text(payload.utf8))"
    let bytes = Data(signed.utf8)
    let signature: Data
    switch algorithm {
    case .es256: signature = try p256.signature(for: bytes).rawRepresentation
    case .es384: signature = try p384.signature(for: bytes).rawRepresentation
    case .es512: signature = try p521.signature(for: bytes).rawRepresentation
    case .edDSA: signature = try ed.signature(for: bytes)
    case .rs256:
      signature = try rsa.signature(for: SHA256.hash(data: bytes), padding: .insecurePKCS1v1_5).rawRepresentation
    case .rs384:
      signature = try rsa.signature(for: SHA384.hash(data: bytes), padding: .insecurePKCS1v1_5).rawRepresentation
    case .rs512:
      signature = try rsa.signature(for: SHA512.hash(data: bytes), padding: .insecurePKCS1v1_5).rawRepresentation
    case .ps256: signature = try rsa.signature(for: SHA256.hash(data: bytes), padding: .PSS).rawRepresentation
    case .ps384: signature = try rsa.signature(for: SHA384.hash(data: bytes), padding: .PSS).rawRepresentation
    case .ps512: signature = try rsa.signature(for: SHA512.hash(data: bytes), padding: .PSS).rawRepresentation
    }
    return "\(signed).\(Issuer.text(signature))"
  }
}

@Suite struct TokenTests {
  static let rules: TokenRules = {
    var rules = TokenRules()
    rules.issuer = "me"
    rules.audiences = ["other", "shop"]
    return rules
  }()

  static func outcome(
    _ token: String, _ keys: String, _ rules: TokenRules = TokenTests.rules, now: Int64 = 1000
  ) throws -> String {
    switch rules.check(Array(token.utf8), keys: try KeySet(Array(keys.utf8)), now: now) {
    case .valid(let claims): "\(claims.subject) \(claims.roles) \(claims.scopes) until \(claims.expiresAt)"
    case .invalid(let fault): "\(fault)"
    case .unknownKey: "unknownKey"
    }
  }

  // RFC 7515 A.2, A.3 and RFC 8037 A.4: other people's signatures, byte by byte.
  @Test(
    "signatures of the RFCs hold, and with one bit changed do not",
    arguments: [
      (
        #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        SignatureAlgorithm.es256,
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
      ),
      (
        #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#, .edDSA,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
      ),
      (
        #"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        .rs256,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
      ),
    ] as [(String, SignatureAlgorithm, String, String)])
  func vectors(_ key: String, _ algorithm: SignatureAlgorithm, _ signed: String, _ signature: String) throws {
    let set = try KeySet(Array(#"{"keys":[\#(key)]}"#.utf8))
    var bytes = try #require(Base64Text.url(signature.utf8))
    #expect(set.verify(Array(signed.utf8), bytes, algorithm, id: nil) == .valid)
    #expect(set.verify(Array((signed + "x").utf8), bytes, algorithm, id: nil) == .invalid)
    bytes[bytes.count / 2] ^= 1
    #expect(set.verify(Array(signed.utf8), bytes, algorithm, id: nil) == .invalid)
    #expect(set.verify(Array(signed.utf8), bytes, algorithm, id: "other") == .noKey)
  }

  @Test(
    "tokens of every algorithm are taken, by the key they name and by none named",
    arguments: SignatureAlgorithm.allCases)
  func algorithms(algorithm: SignatureAlgorithm) throws {
    let issuer = try Issuer()
    let good = #"alice ["buyer"] ["read", "write"] until 2030"#
    #expect(try Self.outcome(issuer.token(algorithm), issuer.set) == good)
    #expect(try Self.outcome(issuer.token(algorithm, head: #"{"alg":"\#(algorithm.rawValue)"}"#), issuer.set) == good)
    // Another issuer's key of the same name, or a name that nobody has.
    #expect(try Self.outcome(issuer.token(algorithm), Issuer().set) == "signature")
    #expect(try Self.outcome(issuer.token(algorithm), Issuer(name: "b").set) == "unknownKey")
    var rules = Self.rules
    rules.algorithms = SignatureAlgorithm.allCases.filter { $0 != algorithm }
    #expect(try Self.outcome(issuer.token(algorithm), issuer.set, rules) == "algorithm")
  }

  // RFC 8725 §2.1: no signature, a public key taken for a secret, a key of one kind for another.
  @Test("what an algorithm's name makes of a key is never believed")
  func confusion() throws {
    let issuer = try Issuer()
    let payload = Issuer.text(#"{"iss":"me","aud":"shop","sub":"root","exp":2000}"#.utf8)
    for name in ["none", "None", "NONE", "HS256", "HS512", "ES256K", ""] {
      let head = Issuer.text(#"{"alg":"\#(name)"}"#.utf8)
      for signature in ["", "AAAA"] {
        #expect(try Self.outcome("\(head).\(payload).\(signature)", issuer.set) == "algorithm")
      }
    }
    let head = Issuer.text(#"{"alg":"HS256","kid":"a-rsa"}"#.utf8)
    let code = HMAC<SHA256>.authenticationCode(
      for: Data("\(head).\(payload)".utf8), using: SymmetricKey(data: Data(issuer.set.utf8)))
    #expect(try Self.outcome("\(head).\(payload).\(Issuer.text(code))", issuer.set) == "algorithm")
    for (algorithm, kid) in [(SignatureAlgorithm.es256, "a-rsa"), (.rs256, "a-p256"), (.edDSA, "a-p256")] {
      let head = #"{"alg":"\#(algorithm.rawValue)","kid":"\#(kid)"}"#
      #expect(try Self.outcome(issuer.token(algorithm, head: head), issuer.set) == "unknownKey")
    }
    // RSASSA-PSS and PKCS #1 are not each other's.
    let pss = try issuer.token(.ps256, head: #"{"alg":"RS256","kid":"a-rsa"}"#)
    #expect(try Self.outcome(pss, issuer.set) == "signature")
  }

  @Test(
    "each claim is held against its rule, at both sides of its boundary",
    arguments: [
      (#"{"iss":"you","aud":"shop","exp":2000}"#, 1000, "issuer"), (#"{"aud":"shop","exp":2000}"#, 1000, "issuer"),
      (#"{"iss":"me","exp":2000}"#, 1000, "audience"), (#"{"iss":"me","aud":["x"],"exp":2000}"#, 1000, "audience"),
      (#"{"iss":"me","aud":["x","shop"],"exp":2000}"#, 1000, " [] [] until 2030"),
      (#"{"iss":"me","aud":"shop"}"#, 1000, "expired"), (#"{"iss":"me","aud":"shop","exp":"2000"}"#, 1000, "expired"),
      (#"{"iss":"me","aud":"shop","exp":2000}"#, 2029, " [] [] until 2030"),
      (#"{"iss":"me","aud":"shop","exp":2000}"#, 2030, "expired"),
      (#"{"iss":"me","aud":"shop","exp":2000,"nbf":1030}"#, 1000, " [] [] until 2030"),
      (#"{"iss":"me","aud":"shop","exp":2000,"nbf":1031}"#, 1000, "early"),
      (#"{"iss":"me","aud":"shop","exp":2000,"iat":1031}"#, 1000, "early"),
      (#"{"iss":"me","aud":"shop","exp":2000,"nbf":"no"}"#, 1000, "malformed"),
      (#"{"iss":"me","iss":"you","aud":"shop","exp":2000}"#, 1000, "malformed"),
      (#"["iss"]"#, 1000, "malformed"), ("{}x", 1000, "malformed"),
    ] as [(String, Int64, String)])
  func claims(_ payload: String, _ now: Int64, _ expected: String) throws {
    let issuer = try Issuer()
    #expect(try Self.outcome(issuer.token(payload: payload), issuer.set, now: now) == expected)
  }

  @Test("what must be understood is refused, and so is a head that says a thing twice")
  func heads() throws {
    let issuer = try Issuer()
    for head in [
      #"{"alg":"ES256","crit":["b64"],"b64":false}"#, #"{"alg":"ES256","kid":7}"#, #"{"alg":"ES256","alg":"ES256"}"#,
      "1",
    ] {
      #expect(try Self.outcome(issuer.token(head: head), issuer.set) == "malformed", "\(head)")
    }
  }

  // Whatever is changed in a good token, it is not taken: unless it means the same bytes, which no change here does.
  @Test("a token that was changed anywhere is never taken, and never harms")
  func mutations() throws {
    let issuer = try Issuer()
    let keys = try KeySet(Array(issuer.set.utf8))
    let token = Array(try issuer.token().utf8)
    var random = SystemRandomNumberGenerator()
    for round in 0..<3000 {
      var bytes = token
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: Int.random(in: bytes.indices, using: &random))
        default:
          bytes.insert(UInt8.random(in: 33...126, using: &random), at: Int.random(in: bytes.indices, using: &random))
        }
      }
      if bytes == token { continue }
      if case .valid = Self.rules.check(bytes, keys: keys, now: 1000) {
        Issue.record("round \(round): \(String(decoding: bytes, as: UTF8.self))")
      }
    }
    for length in 0..<300 {
      let noise = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      if case .valid = Self.rules.check(noise, keys: keys, now: 1000) { Issue.record("noise was taken") }
    }
  }

  @Test("a set without a key that can be used is refused; one with some keeps those")
  func sets() throws {
    for text in ["", "[]", "{}", #"{"keys":{}}"#, #"{"keys":[]}"#, #"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
      #expect(throws: KeySet.Mistake.self) { try KeySet(Array(text.utf8)) }
    }
    #expect(try KeySet(Array(Issuer().set.utf8)).ids == ["a-rsa", "a-p256", "a-p384", "a-p521", "a-ed"])
    // A key for encryption, one of 1024 bits, a point that is not on its curve, an algorithm of another kind.
    let issuer = try Issuer()
    let x = Issuer.text(issuer.p256.publicKey.rawRepresentation.prefix(32))
    for key in [
      #"{"kty":"OKP","crv":"Ed25519","use":"enc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
      #"{"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
      #"{"kty":"EC","crv":"P-256","x":"\#(x)","y":"\#(x)"}"#,
      #"{"kty":"RSA","n":"\#(Issuer.text([UInt8](repeating: 255, count: 128)))","e":"AQAB"}"#,
    ] {
      #expect(throws: KeySet.Mistake.self, "\(key)") { try KeySet(Array(#"{"keys":[\#(key)]}"#.utf8)) }
    }
  }
}
