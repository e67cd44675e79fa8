// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// Files given out by the gateway, on real sockets: nothing outside the folder, and all of what is inside.
@Suite struct FilesTests {
  /// A folder with a secret beside it, and links that lead to both.
  static func withSite(
    spa: String? = nil, cache: Duration? = nil,
    _ body: @escaping @Sendable (ProxyServer, Int, String) async throws -> Void
  ) async throws {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("weir-site-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: root) }
    let site = root + "/site"
    for folder in ["/a", "/empty", "/.git", "/.well-known"] { try Files.makeFolder(site + folder) }
    let text = String(repeating: "body { color: teal }\n", count: 100)
    for (name, content) in [
      ("/index.html", "<h1>home</h1>"), ("/a/index.html", "<h1>a</h1>"), ("/a/site.css", text), ("/.git/config", "x"),
      (".secret", "x"), ("/.hidden", "x"), ("/.well-known/security.txt", "Contact: us"), ("/a b.txt", "spaces"),
      ("/packed.js", "plain"), ("/packed.js.br", "brotli"), ("/packed.js.gz", "gzip"), ("/zero", ""),
    ] { try Files.replace(site + name, with: Array(content.utf8)) }
    try Files.replace(site + "/big.bin", with: Self.big)
    try Files.replace(root + "/secret.txt", with: Array("secret".utf8))
    try Files.link("../secret.txt", at: site + "/out.txt")
    try Files.link(root, at: site + "/up")
    try Files.link("a/site.css", at: site + "/in.css")
    let policy = FilesPolicy(
      folder: try StaticFolder(site), skip: 0, index: "index.html", spa: spa, cache: cache)
    var setup = Setup()
    setup.route = FlowPlan.Route(edge: nil)
    setup.configure = { $0.edgePolicies = [EdgePolicy(files: policy)] }
    try await withProxy(to: [1], setup) { server, port in try await body(server, port, site) }
  }

  static let big = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }

  @Test("whole files with type, tag and date; folders by their index; a slash that is missing")
  func files() async throws {
    try await Self.withSite { server, port, _ in
      let client = try Wire(port: port)
      let home = try client.get("/")
      #expect(home.status == 200 && home.text == "<h1>home</h1>")
      #expect(home["content-type"] == "text/html; charset=utf-8" && home["x-content-type-options"] == "nosniff")
      #expect(home["etag"] != nil && home["last-modified"] != nil && home["cache-control"] == "no-cache")
      #expect(try client.get("/a/").text == "<h1>a</h1>")
      let folder = try client.get("/a?x=1")
      #expect(folder.status == 308 && folder["location"] == "/a/?x=1")
      #expect(try client.get("/a/site.css")["content-type"] == "text/css; charset=utf-8")
      #expect(try client.get("/a%20b.txt").text == "spaces")
      #expect(try client.get("/in.css").body.count == 2100)
      #expect(try client.get("/.well-known/security.txt").text == "Contact: us")
      #expect(try client.get("/zero").body.isEmpty)
      let head = try client.ask("HEAD /a/site.css HTTP/1.1\r\nHost: test.example\r\n\r\n", toHead: true)
      #expect(head.status == 200 && head["content-length"] == "2100")
      let post = try client.ask("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 0\r\n\r\n")
      #expect(post.status == 405 && post["allow"] == "GET, HEAD")
      #expect(try client.get("/big.bin").body == Self.big)
      // One after another without waiting.
      try client.send(String(repeating: "GET /a/ HTTP/1.1\r\nHost: test.example\r\n\r\n", count: 3))
      for _ in 0..<3 { #expect(try client.answer().text == "<h1>a</h1>") }
      #expect(await server.reports()[0].ledger.routes[0].requests == 14)
    }
  }

  @Test(
    "nothing that is hidden, outside, or no file",
    arguments: [
      "/nothing", "/.git/config", "/.hidden", "/out.txt", "/up/secret.txt", "/up/site/index.html", "/empty/", "/empty",
      "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/a/%2e%2e/%2e%2e/secret.txt", "/a%5c..%5csecret.txt", "/%00",
      "/index.html/", "/index.html/x", "/a/..%00/x", "/%ff", "/zero%00.css", "/site%2findex.html",
    ])
  func hidden(_ path: String) async throws {
    try await Self.withSite { _, port, _ in
      let client = try Wire(port: port)
      let answer = try client.get(path)
      #expect(answer.status == 404 || answer.status == 400, "\(path): \(answer.head)")
      #expect(!answer.text.contains("secret"))
    }
  }

  @Test("what the caller has already is not sent again; one range is sent alone")
  func conditions() async throws {
    try await Self.withSite(cache: .seconds(3600)) { _, port, _ in
      let client = try Wire(port: port)
      let css = try client.get("/a/site.css")
      #expect(css["cache-control"] == "public, max-age=3600")
      #expect(try client.get("/a/")["cache-control"] == "no-cache")
      let tag = try #require(css["etag"])
      let date = try #require(css["last-modified"])
      for fields in ["If-None-Match: \(tag)\r\n", "If-None-Match: W/\(tag)\r\n", "If-Modified-Since: \(date)\r\n"] {
        let same = try client.get("/a/site.css", fields)
        #expect(same.status == 304 && same["etag"] == tag && same["content-length"] == nil, "\(fields)")
      }
      #expect(try client.get("/a/site.css", "If-None-Match: \"other\"\r\n").status == 200)
      #expect(try client.get("/a/site.css", "If-Match: \"other\"\r\n").status == 412)
      let part = try client.get("/a/site.css", "Range: bytes=5-9\r\n")
      #expect(part.status == 206 && part.text == "{ col" && part["content-range"] == "bytes 5-9/2100")
      #expect(try client.get("/a/site.css", "Range: bytes=-3\r\n").text == " }\n")
      #expect(try client.get("/a/site.css", "Range: bytes=0-1,3-4\r\n").status == 200)
      let beyond = try client.get("/a/site.css", "Range: bytes=9999-\r\n")
      #expect(beyond.status == 416 && beyond["content-range"] == "bytes */2100")
      #expect(try client.get("/a/site.css", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n").status == 200)
      #expect(try client.get("/a/site.css", "Range: bytes=0-1\r\nIf-Range: \(tag)\r\n").status == 206)
      let far = try client.get("/big.bin", "Range: bytes=1000000-2999999\r\n")
      #expect(far.status == 206 && far.body == Array(Self.big[1_000_000..<3_000_000]))
    }
  }

  @Test("a packed sibling goes out instead, unless it is older than the file")
  func packed() async throws {
    try await Self.withSite { _, port, site in
      let client = try Wire(port: port)
      for (accepts, expected) in [
        ("gzip, br", "brotli"), ("gzip", "gzip"), ("zstd", "plain"), ("zstd, gzip;q=0.5", "gzip"),
        ("identity", "plain"),
      ] {
        let answer = try client.get("/packed.js", "Accept-Encoding: \(accepts)\r\n")
        #expect(answer.text == expected, "\(accepts)")
        #expect(answer["content-type"] == "text/javascript; charset=utf-8" && answer["vary"] == "Accept-Encoding")
        #expect((answer["content-encoding"] == nil) == (expected == "plain"))
      }
      let tags = Set([
        try client.get("/packed.js", "Accept-Encoding: br\r\n")["etag"], try client.get("/packed.js")["etag"],
      ])
      #expect(tags.count == 2)
      let old = Date(timeIntervalSince1970: 1_000_000_000)
      try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: site + "/packed.js.br")
      #expect(try client.get("/packed.js", "Accept-Encoding: br\r\n").text == "plain")
    }
  }

  @Test("an application's page stands in for paths without a file")
  func spa() async throws {
    try await Self.withSite(spa: "index.html", cache: .seconds(60)) { _, port, _ in
      let client = try Wire(port: port)
      let page = try client.get("/orders/17")
      #expect(page.status == 200 && page.text == "<h1>home</h1>" && page["cache-control"] == "no-cache")
      #expect(try client.get("/orders/17.css").status == 404)
      #expect(try client.get("/.git/config").status == 404)
    }
  }

  @Test("a caller that stops reading stops the file; one that goes ends it")
  func slow() async throws {
    try await Self.withSite { server, port, _ in
      let client = try Wire(port: port)
      try client.send(String(repeating: "GET /big.bin HTTP/1.1\r\nHost: test.example\r\n\r\n", count: 4))
      _ = try client.head()
      #expect(try client.take(Self.big.count) == Self.big)
      client.reset()
      try await eventually("both requests are over") { await server.reports()[0].ledger.routes[0].requests >= 2 }
      #expect(try Wire(port: port).get("/zero").status == 200)
    }
  }
}
