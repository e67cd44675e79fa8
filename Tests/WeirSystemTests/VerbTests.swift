// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

extension SystemTests {
  /// The verbs that run nothing, on the example as it is in the repository.
  @Suite struct VerbTests {
    private let example = Program.root + "/examples/webapp/weir.yaml"

    @Test(arguments: [
      ["explain", "FILE", "--format", "json"], ["schema"],
      [
        "simulate", "FILE", "--format", "json", "--duration", "20", "--replications", "2", "--scenario",
        "api-instance-dies",
      ],
      ["check", "FILE", "--format", "json"],
    ])
    func jsonIsTheSameTwice(words: [String]) async throws {
      try await Field.with { field in
        let arguments = words.map { $0 == "FILE" ? example : $0 }
        let first = try await field.verb(arguments)
        let second = try await field.verb(arguments)
        // Two short replications may leave a requirement undecided, which is 1.
        let good: [Int32] = words[0] == "simulate" ? [0, 1] : [0]
        Claims.holds(
          good.contains(first.code) && first.out == second.out && first.code == second.code,
          "weir \(words[0]): same bytes twice", "exit code \(first.code), \(first.out.utf8.count) bytes, \(first.err)")
        #expect((try? JSONSerialization.jsonObject(with: Data(first.out.utf8))) != nil, "\(first.out.prefix(200))")
      }
    }

    @Test(arguments: [["explain", "FILE"], ["check", "FILE"], ["--help"], ["--version"], ["run", "--help"]])
    func textIsThere(words: [String]) async throws {
      try await Field.with { field in
        let result = try await field.verb(words.map { $0 == "FILE" ? example : $0 })
        #expect(result.code == 0, "\(result.err)")
        #expect(!result.out.isEmpty && result.err.isEmpty)
        #expect(!result.out.contains("\u{1b}["), "no colours where nobody looks")
      }
    }

    /// A certificate of a test: from 2026-11-21 to 2027-02-09, for nobody.
    private static let certificate = """
      -----BEGIN CERTIFICATE-----
      MIIBqTCCAU+gAwIBAgIUV/Il3nFajtlEFrNORtnbAkfzgMswCgYIKoZIzj0EAwIw
      ETEPMA0GA1UEAwwGY2xpZW50MB4XDTI2MTEyMTE5NDgxNVoXDTI3MDIwOTE5NDgx
      NVowETEPMA0GA1UEAwwGY2xpZW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
      3lbEDoiKorr5zP63kxV9jDte4wdIU7+2ZCqkjh4HAbfkjqj+mRJpyk5We1aoWvqV
      yH6tsJlcANLKmfV6Sa8M/qOBhDCBgTAdBgNVHQ4EFgQUyDDqUe+lU0RSCTn81I4T
      rx157oEwHwYDVR0jBBgwFoAUyDDqUe+lU0RSCTn81I4Trx157oEwDwYDVR0TAQH/
      BAUwAwEB/zAZBgNVHREEEjAQgg5jbGllbnQuZXhhbXBsZTATBgNVHSUEDDAKBggr
      BgEFBQcDAjAKBggqhkjOPQQDAgNIADBFAiAy1ywP49QTaHdRRJctGwvPVUWPs11u
      fB56pyFgrVQ85QIhAITIxrLcqy3oCurX7goHsDtRPz/I3LrKlkEhnjDdrYCS
      -----END CERTIFICATE-----

      """

    @Test("check reads how long certificates last, and says nothing of those that are elsewhere")
    func certificates() async throws {
      try await Field.with { field in
        try field.write(
          """
          weir: 1
          system: shop
          requirements: { availability: 99.9% }
          gateway:
            listen:
              port: 8443
              certificates:
                - { chain: here.pem, key: $(file:here.key) }
                - { chain: elsewhere.pem, key: $(file:elsewhere.key) }
            routes: { all: { path: /**, to: web } }
          services: { web: { instances: 2 } }

          """)
        let here = URL(fileURLWithPath: field.file).deletingLastPathComponent().appendingPathComponent("here.pem")
        try Data(Self.certificate.utf8).write(to: here)
        for (today, says) in [
          ("2027-01-09", nil), ("2027-01-10", "here.pem ends in 30 days: its last day is 2027-02-09"),
          ("2027-02-09", "here.pem ends today"), ("2027-02-10", "error: here.pem has ended 1 day ago"),
        ] as [(String, String?)] {
          let result = try await field.verb(["check", field.file, "--today", today])
          #expect(result.code == (says == nil ? 0 : 1), "\(today): \(result.out)\(result.err)")
          #expect(says.map { result.out.contains($0) } ?? result.out.contains("no findings"), "\(today): \(result.out)")
        }
      }
    }

    @Test func threadsChangeNoByte() async throws {
      try await Field.with { field in
        let words = ["simulate", example, "--format", "json", "--duration", "10", "--replications", "4"]
        let one = try await field.verb(words + ["--threads", "1"])
        let three = try await field.verb(words + ["--threads", "3"])
        Claims.holds(
          one.out == three.out && !one.out.isEmpty, "weir simulate: same bytes on one thread and on three",
          "\(one.out.utf8.count) bytes")
      }
    }

    @Test(arguments: [
      (["fly"], "fly"), (["run", "--loops", "0"], "--loops is a number from 1 to 64, not 0"),
      (["run", "--admin", "70000"], "--admin is a port"), (["simulate", "--replications", "1"], "--replications"),
      (["explain", "nowhere.yaml"], "nowhere.yaml"), (["run", "nowhere.yaml"], "nowhere.yaml"),
      (["check", "nowhere.yaml"], "nowhere.yaml"), (["status", "nowhere.yaml"], "nowhere.yaml"),
      (["simulate", "FILE", "--scenario", "flood"], "api-instance-dies"), (["plane"], "settings"),
      (["plane", "{}"], "weir run"),
    ])
    func wrongUseIsToldAndEndsWith2(words: [String], says: String) async throws {
      try await Field.with { field in
        let result = try await field.verb(words.map { $0 == "FILE" ? example : $0 })
        #expect(result.code == 2, "\(words): \(result.out)\(result.err)")
        #expect(result.err.contains(says), "\(words): \(result.err)")
        #expect(result.out.isEmpty)
      }
    }

    @Test func statusOfWhatDoesNotRunSaysHowToStartIt() async throws {
      try await Field.with { field in
        try field.writeExample()
        let result = try await field.verb(["status", field.file, "--state", field.state])
        #expect(result.code == 1)
        #expect(result.err.contains("'webapp' is not running") && result.err.contains("weir run"), "\(result.err)")
      }
    }
  }
}
