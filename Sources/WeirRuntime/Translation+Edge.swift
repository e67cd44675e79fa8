// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirMessaging
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirWire

/// What routes have the gateway itself do.
extension Translation {
  /// By route of the plan; empty when no route has any.
  static func edgePolicies(_ plan: Plan) throws(PlaneError) -> [EdgePolicy?] {
    let routes = plan.design.gateways.flatMap(\.routes)
    let folder = Files.parent(of: plan.design.file)
    // The plan's routes are known by their names. A search for each copied them all a thousand times at a thousand routes,
    // which was a third of a reload.
    var indices: [String: Int] = [:]
    for index in routes.indices { indices[routes[index].name.text] = index }
    var policies: [EdgePolicy?] = []
    for name in plan.routes {
      guard let index = indices[name] else {
        policies.append(nil)
        continue
      }
      policies.append(try policy(routes[index], plan.flow.routes[policies.count], plan.queues, folder))
    }
    return policies.contains { $0 != nil } ? policies : []
  }

  private static func way(_ fallback: RouteFallback, _ compiled: FlowPlan.Fallback, _ route: Route) -> FallbackWay? {
    switch (fallback, compiled) {
    case (_, .none): return nil
    case (.omit, _): return .omit
    case (.stale, _): return .stale(route: route.name.text)
    case (.answer(let body), _): return .answer(answer(body))
    case (.service, .edge(let edge)): return .edge(edge)
    case (.service, .own): return nil
    }
  }

  static func answer(_ body: String) -> ProxyConfiguration.FallbackAnswer {
    let isJSON = body.first == "[" || body.first == "{"
    return .init(contentType: isJSON ? "application/json" : "text/plain; charset=utf-8", body: Array(body.utf8))
  }

  private static func policy(_ route: Route, _ parts: [FlowPlan.Part]) -> ComposePolicy {
    ComposePolicy(
      parts: zip(route.edge.compose, parts).map { written, part in
        ComposePolicy.Part(
          name: written.name.text, edge: part.edge, path: written.path, isOptional: written.optional.value)
      }, timeout: route.timeout?.value)
  }

  private static func policy(
    _ route: Route, _ flow: FlowPlan.Route, _ queues: [Plan.Queue], _ folder: String
  ) throws(PlaneError) -> EdgePolicy? {
    let answer: FixedAnswer? = if let answer = route.edge.answer { try fixed(answer, route, folder) } else { nil }
    let cors: CORSPolicy? = if let cors = route.edge.cors { try policy(cors, route) } else { nil }
    let compression = route.edge.compress.map(rule)
    let files: FilesPolicy? = if let files = route.edge.files { try policy(files, route, folder) } else { nil }
    let compose = route.edge.compose.isEmpty ? nil : policy(route, flow.parts)
    let fallback = route.edge.fallback.flatMap { way($0.value, flow.fallback, route) }
    let queue = route.edge.queue.map { QueueRoute(queue: queues[$0.value].name, skip: ownParts(of: route)) }
    if answer == nil && files == nil && compose == nil && cors == nil && compression == nil && fallback == nil
      && queue == nil
    {
      return nil
    }
    return EdgePolicy(
      answer: answer, files: files, compose: compose, cors: cors, compression: compression, fallback: fallback,
      queue: queue)
  }

  /// Parts of a path before the first that is a wildcard; without one all but the last.
  private static func ownParts(of route: Route) -> Int {
    let parts = route.path.value.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    return parts.firstIndex { $0.contains("*") }.map { $0 - parts.startIndex } ?? max(0, parts.count - 1)
  }

  private static func policy(_ files: StaticFiles, _ route: Route, _ folder: String) throws(PlaneError) -> FilesPolicy {
    // `/assets/**` gives `css/site.css` for `/assets/css/site.css`; without a wildcard the last part names the file.
    let skip = ownParts(of: route)
    do throws(SystemError) {
      return FilesPolicy(
        folder: try StaticFolder(Files.resolve(files.from.value, in: folder)), skip: skip, index: files.index.value,
        spa: files.spa?.value, cache: files.cache?.value)
    } catch { throw PlaneError("the files of route '\(route.name.text)' cannot be given: \(error)") }
  }

  private static func rule(_ compression: Compression) -> CompressionRule {
    var offered = ContentCoding.Set()
    for coding in compression.codings?.value ?? Compression.Coding.allCases {
      switch coding {
      case .zstd: offered.insert(.zstd)
      case .br: offered.insert(.brotli)
      case .gzip: offered.insert(.gzip)
      }
    }
    return CompressionRule(
      types: compression.types?.value ?? Compression.standardTypes, atLeast: Int64(compression.atLeast.value.count),
      offered: offered)
  }

  private static func policy(_ cors: CORS, _ route: Route) throws(PlaneError) -> CORSPolicy {
    do throws(CORSRule.Mistake) {
      return CORSPolicy(try CORSRule(cors.settings(taken: route.methods?.value ?? [])))
    } catch { throw PlaneError("cors of route '\(route.name.text)': \(error)") }
  }

  /// The most bytes of a file that is kept in memory for an answer.
  private static let answerBytesMax = 1 << 20

  private static func fixed(_ answer: StaticAnswer, _ route: Route, _ folder: String) throws(PlaneError) -> FixedAnswer
  {
    var body = Array((answer.body?.value ?? "").utf8)
    var type: String?
    if let text = answer.body?.value {
      type = text.first == "{" || text.first == "[" ? "application/json" : "text/plain; charset=utf-8"
    }
    if let file = answer.file?.value {
      let path = Files.resolve(file, in: folder)
      do throws(SystemError) { body = try Files.bytes(path) } catch {
        throw PlaneError("the answer of route '\(route.name.text)' cannot be read: \(error)")
      }
      if body.count > answerBytesMax {
        throw PlaneError(
          "the answer of route '\(route.name.text)' has \(body.count) bytes: a file that is kept in memory has at most "
            + "\(answerBytesMax)")
      }
      type = MediaTypes.of(path)
    }
    var fields = answer.headers.map { (name: $0.name, value: $0.value.value) }
    if let type, !fields.contains(where: { $0.name.lowercased() == "content-type" }) {
      fields.insert(("Content-Type", type), at: 0)
    }
    return FixedAnswer(status: UInt16(answer.status.value), fields: fields, body: body)
  }
}
