// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirWire

/// All that a gateway does by itself, beside each other: over HTTP/2, and while the plan changes under it.
@Suite struct EdgeRoutesOnSocketsTests {
  static let text = String(repeating: "not all those who wander are lost. ", count: 400)
  static let big = (0..<(2 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }

  /// One service; routes to it, an answer, files, and a composed one; or only the first of them.
  private static func configuration(_ port: Int, _ folder: String, isWhole: Bool) throws -> ProxyConfiguration {
    var routes = RouteTrie.Builder()
    try routes.add(path: isWhole ? "/api/**" : "/**", route: 0)
    var cors = CORSRule.Settings()
    cors.origins = ["https://shop.example"]
    cors.headers = ["x-trace"]
    let offered: ContentCoding.Set = [.gzip, .brotli, .zstd]
    var policies: [EdgePolicy?] = [
      EdgePolicy(
        cors: CORSPolicy(try CORSRule(cors)),
        compression: CompressionRule(types: ["text/*"], atLeast: 100, offered: offered))
    ]
    var plan = FlowPlan(
      services: [FlowPlan.Service(instances: 1)], edges: [FlowPlan.Edge(service: 0)],
      routes: [FlowPlan.Route(edge: 0)])
    if isWhole {
      try routes.add(path: "/robots.txt", route: 1)
      try routes.add(path: "/files/**", route: 2)
      try routes.add(path: "/home", route: 3)
      plan.routes += [FlowPlan.Route(edge: nil), FlowPlan.Route(edge: nil), FlowPlan.Route(edge: nil)]
      plan.routes[3].parts = [FlowPlan.Part(edge: 0), FlowPlan.Part(edge: 0, isOptional: true)]
      policies += [
        EdgePolicy(answer: FixedAnswer(status: 200, fields: [("Content-Type", "text/plain")], body: Array("all".utf8))),
        EdgePolicy(
          files: FilesPolicy(
            folder: try StaticFolder(folder), skip: 1, index: "index.html", spa: nil, cache: .seconds(60))),
        EdgePolicy(
          compose: ComposePolicy(
            parts: [
              .init(name: "a", edge: 0, path: "/json", isOptional: false),
              .init(name: "b", edge: 0, path: "/broken", isOptional: true),
            ], timeout: nil)),
      ]
    }
    var configuration = ProxyConfiguration(
      plan: plan, listeners: [.init(.bind(host: "127.0.0.1", port: 0), .gateway(routes.build()), name: "gateway")],
      addresses: [[.tcp(host: "127.0.0.1", port: port)]])
    configuration.seed = 7
    configuration.edgePolicies = policies
    return configuration
  }

  /// `gate` holds back the answer of `/json`.
  private static func run(
    gate: Gate?, _ body: @escaping @Sendable (ProxyServer, Int, _ service: Int, _ folder: String) async throws -> Void
  ) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("weir-edge-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Files.makeFolder(folder)
    try Files.replace(folder + "/big.bin", with: big)
    let backend = try Backend(answering: { head, _, _ in
      if head.hasPrefix("GET /json ") {
        gate?.wait()
        return Backend.ok("[1]", "Content-Type: application/json\r\n")
      }
      if head.hasPrefix("GET /broken ") { return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n" }
      return Backend.ok(text, "Content-Type: text/plain\r\n")
    })
    try await withTaskExecutorPreference(OwnThreads()) {
      let server = try await ProxyServer.start(try configuration(backend.port, folder, isWhole: true))
      do { try await body(server, server.ports[0], backend.port, folder) } catch {
        await server.stop()
        throw error
      }
      await server.stop()
    }
  }

  @Test("the same over HTTP/2", .enabled(if: Script.has("h2")))
  func overHTTP2() async throws {
    try await Self.run(gate: nil) { _, port, _, _ in
      let failure = try Script("HTTP2/client.py", "\(port)", "edge").failure()
      #expect(failure == nil)
    }
  }

  // A request keeps its plan: ids of the new one may mean other routes and edges.
  @Test("a file and a composed answer under way end by the plan they began with")
  func reload() async throws {
    let gate = Gate()
    try await Self.run(gate: gate) { server, port, service, folder in
      let reader = try Wire(port: port)
      try reader.send("GET /files/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
      let head = try #require(try reader.head())
      #expect(field("content-length", of: head) == "\(Self.big.count)")
      let page = try Wire(port: port)
      try page.send("GET /home HTTP/1.1\r\nHost: x\r\n\r\n")
      try await eventually("the part is under way") { await server.reports()[0].ledger.edges[0].calls >= 1 }
      let old = try Self.configuration(service, folder, isWhole: true).plan
      var move = PlanMove.none(of: old)
      move.routes = [0, nil, nil, nil]
      _ = try await server.reload(try Self.configuration(service, folder, isWhole: false), by: move)
      gate.open()
      #expect(try page.answer().text == #"{"a":[1]}"#)
      #expect(try reader.take(Self.big.count) == Self.big)
      #expect(try page.get("/robots.txt").text == Self.text)
      #expect(try reader.get("/files/big.bin").text == Self.text)
      try await eventually("the old plan's epoch has ended") { server.livingEpochs == 1 }
    }
  }
}
