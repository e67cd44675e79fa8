// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirCertificates

@Suite struct CertificateTests {
  private static let now = Date(timeIntervalSince1970: 1_795_000_000)

  @Test func aLeafIsForItsNamesAndFitsItsKey() throws {
    let authority = try DevelopmentAuthority.make(machine: "desk", now: Self.now)
    let leaf = try authority.leaf(names: ["localhost", "*.shop.example", "127.0.0.1", "::1"], now: Self.now)
    #expect(leaf.facts.names == ["localhost", "*.shop.example", "127.0.0.1", "0:0:0:0:0:0:0:1"])
    #expect(leaf.facts.issuer.contains("Weir development on desk"))
    #expect(leaf.facts.notAfter.timeIntervalSince(Self.now) == Double(DevelopmentAuthority.leafDays) * 86_400)
    #expect(leaf.facts.fingerprint.count == 64)
    for host in ["localhost", "LOCALHOST", "a.shop.example", "127.0.0.1"] {
      #expect(leaf.facts.covers(host), "\(host)")
    }
    for host in ["shop.example", "a.b.shop.example", "example", ""] { #expect(!leaf.facts.covers(host), "\(host)") }
  }

  @Test func aKeyThatDoesNotFitIsFoundBeforeAnyHandshake() throws {
    let authority = try DevelopmentAuthority.make(machine: "desk", now: Self.now)
    let one = try authority.leaf(names: ["a.example"], now: Self.now)
    let two = try authority.leaf(names: ["b.example"], now: Self.now)
    #expect(throws: CertificateMistake("the key does not belong to the certificate of CN=a.example")) {
      try CertificateChain(chain: one.chain, key: two.key)
    }
    #expect(throws: CertificateMistake.self) { try CertificateChain(chain: "nothing", key: one.key) }
    #expect(throws: CertificateMistake.self) { try CertificateChain(chain: one.chain, key: one.chain) }
    #expect(try CertificateChain(chain: one.chain + authority.certificate, key: one.key).facts == one.facts)
  }
}
