// SPDX-License-Identifier: Apache-2.0

/// What Weir itself does for a route: answers that need no service, files, answers of several calls, and how others' go
/// out to browsers.
package struct RouteEdge: Sendable, Equatable {
  package var answer: StaticAnswer?
  package var files: StaticFiles?
  package var compose: [ComposedPart] = []
  /// Index in `Design.queues`: its requests are messages of it.
  package var queue: Value<Int>?
  package var fallback: Value<RouteFallback>?
  package var cors: CORS?
  package var compress: Compression?
  /// Calls of gRPC-Web are made into calls of gRPC; nil where no service could take them.
  package var grpcWeb: Value<Bool>?
}

/// The keys of a route that say what Weir itself does.
enum RouteEdgeKeys {
  static let answer = Key(
    "answer", .section(StaticAnswerKeys.section), "What Weir answers by itself, without a service.",
    alias: ["respond", "static", "return"])
  static let files = Key(
    "files", .section(StaticFilesKeys.section), "A folder whose files Weir gives out by itself.",
    alias: ["static-files", "file-server", "root"])
  static let cors = Key(
    "cors", .section(CORSKeys.section), "Pages of other origins that may call it from a browser.")

  static let fields: [Field<RouteEdge>] = [
    .optionalPart(answer, \.answer, StaticAnswerKeys.part),
    .optionalPart(files, \.files, StaticFilesKeys.part),
    ComposeKeys.field,
    RouteQueueKeys.field,
    RouteFallbackKeys.field.inDefaults,
    .optionalPart(cors, \.cors, CORSKeys.part).inDefaults,
    CompressionKeys.field.inDefaults,
    RouteGRPCWebKeys.field.inDefaults,
  ]
}
