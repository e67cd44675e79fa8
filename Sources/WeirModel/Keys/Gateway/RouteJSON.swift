// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirPatterns
package import WeirWire

/// What is changed of the JSON bodies of a route's requests and answers.
package struct RouteJSON: Sendable, Equatable {
  package var place: Place
  package var request: Change?
  package var response: Change?
  package var most = RouteJSONKeys.most.initial

  package struct Change: Sendable, Equatable {
    package var place: Place
    package var remove: [Value<String>] = []
    package var rename: [Named<String>] = []
    package var set: [Named<String>] = []
    package var template: Value<String>?
  }
}

/// `json:` of a route.
enum RouteJSONKeys {
  /// Bodies are changed on the loop that has read them: measured beside builds on two cores, 64 KiB of small items take 2 to 4 ms
  /// of it, 256 KiB 6 to 7.
  static let bodyMax = 256 << 10

  private static let path = Shape.Names(
    what: "a path into a body",
    problem: { text in
      do throws(JSONPath.Mistake) { _ = try JSONPath(text) } catch { return error.description }
      return nil
    }, pattern: "^.+$")
  private static let pathText = ScalarType<String>.text("a path into a body", example: "items[].cost", pattern: "^.+$")
  {
    path.problem($0)
  }
  private static let value = ScalarType<String>.text("a value", example: "$client")
  private static let name = ScalarType<String>.text("a name", example: "id")

  static let remove = Key(
    "remove", .list(.scalar(pathText)).or(.scalar(pathText)), "Members that are taken out: `items[].cost`.",
    alias: ["delete"])
  static let rename = Key("rename", .named(path, .scalar(name)), "Members that get another name in their object.")
  static let set = Key(
    "set", .named(path, .scalar(value)),
    "Members that have this value: JSON when it is that, else a text, in which `$client` and others stand for the request's."
  )
  static let template = ScalarKey(
    "template", .text("a JSON text", example: "'{ \"data\": \"$body\" }'"),
    "The whole body: `\"$body\"` and `\"$body.a.b\"` in it are what the body has there, as it is.")
  static let changePart = Part<RouteJSON.Change>(
    "json-change", "What is changed of a body.",
    start: { layers, _ in layers.place.map { RouteJSON.Change(place: $0) } },
    [
      .list(remove, pathText, \.remove),
      .named(rename, name, \.rename),
      .named(set, value, \.set),
      .optional(template, \.template),
    ])

  /// A size that can be changed on a loop.
  private static var size: ScalarType<Bytes> {
    let plain = ScalarType<Bytes>.bytes
    var type = plain
    type.read = { text in
      guard case .value(let bytes) = plain.read(text), bytes.count > bodyMax else { return plain.read(text) }
      let most = plain.write(Bytes(bodyMax))
      return .wrong(.init("a body that is changed has at most \(most)", mend: most))
    }
    return type
  }

  static let request = Key("request", .section(changePart.section), "Of requests, before they go to the service.")
  static let response = Key("response", .section(changePart.section), "Of answers that succeed (2xx).")
  static let most = ScalarKey(
    "max", size, default: .kibi(64), rule: "json.max (a body is held whole, and changed on its loop)",
    "The largest body, before and after: it is held whole.", alias: ["max-body", "limit", "body"])
  static let part = Part<RouteJSON>(
    "json", "What is changed of JSON bodies.",
    start: { layers, _ in layers.place.map { RouteJSON(place: $0) } },
    [
      .optionalPart(request, \.request, changePart),
      .optionalPart(response, \.response, changePart),
      .value(most, \.most),
    ])
  static let key = Key(
    "json", .section(part.section), "Members of JSON bodies that are set, renamed or taken out.",
    alias: ["body-transform", "transform"])
}

extension RouteJSON {
  /// What is done to bodies, without where it is written.
  package struct Edits: Sendable, Equatable {
    package var request: Direction?
    package var response: Direction?
    package var most: Int
  }

  package struct Direction: Sendable, Equatable {
    package var edits: JSONEdits
    /// As the edits want them.
    package var fillings: [Filling]
  }

  /// What a value is: a JSON text, or one with variables.
  package enum Filling: Sendable, Equatable {
    case json([UInt8])
    case text(Template)
  }

  /// `pattern` is the route's path; what is wrong with it was said when the file was read.
  func compiled(_ pattern: RoutePattern?) -> Edits {
    Edits(
      request: request.flatMap { try? $0.compiled(pattern) }, response: response.flatMap { try? $0.compiled(pattern) },
      most: most.value.count)
  }
}

extension RouteJSON.Change {
  func edits() throws(JSONEdits.Mistake) -> JSONEdits {
    try JSONEdits(
      remove: remove.map(\.value), rename: rename.map { ($0.name, $0.value.value) }, set: set.map(\.name),
      template: template?.value)
  }

  /// Nil where nothing is changed.
  func compiled(_ pattern: RoutePattern?) throws -> RouteJSON.Direction? {
    let edits = try edits()
    if edits.isEmpty { return nil }
    var fillings: [RouteJSON.Filling] = []
    for entry in set { fillings.append(try RouteJSON.Change.filling(entry.value.value, pattern)) }
    for text in edits.texts { fillings.append(.text(try Template(text, path: pattern))) }
    return RouteJSON.Direction(edits: edits, fillings: fillings)
  }

  private static func filling(_ text: String, _ pattern: RoutePattern?) throws(Template.Mistake) -> RouteJSON.Filling {
    let bytes = Array(text.utf8)
    return JSONText.isWhole(bytes.span) ? .json(bytes) : .text(try Template(text, path: pattern))
  }
}

extension Resolver {
  /// Paths that contradict each other, templates that are none, and routes that have no body to change.
  mutating func refuseJSON(of route: Route, _ pattern: RoutePattern?) {
    guard let json = route.transform.json else { return }
    if route.to.isEmpty {
      mistake(
        "wrong-value", "'json' changes bodies on their way to a service and back, and this route has none",
        at: json.place, spot: json.place.head, mend: "leave 'json' out")
      return
    }
    let services = route.services.compactMap { resolvedServices.indices.contains($0) ? resolvedServices[$0] : nil }
    if let grpc = services.first(where: { $0.speaks.value == .grpc }) {
      mistake(
        "wrong-value", "'json' changes JSON bodies, and '\(grpc.name.text)' speaks gRPC", at: json.place,
        spot: json.place.head, why: "messages of gRPC are a stream of their own coding, and go through as they are",
        mend: "leave 'json' out, or make a route of its own for what is JSON")
      return
    }
    if let change = json.request { refuse(change, pattern, isRequest: true, route) }
    if let change = json.response { refuse(change, pattern, isRequest: false, route) }
  }

  private mutating func refuse(
    _ change: RouteJSON.Change, _ pattern: RoutePattern?, isRequest: Bool, _ route: Route
  ) {
    let related = route.path.place.map { [Diagnostic.Related($0, "the route's path")] } ?? []
    let edits: JSONEdits
    do throws(JSONEdits.Mistake) { edits = try change.edits() } catch {
      let place = place(of: error, in: change)
      mistake("wrong-value", error.description, at: place, spot: place.value)
      return
    }
    for entry in change.set {
      guard let place = entry.value.place else { continue }
      refuse(entry.value.value, pattern, isRequest, at: place, related)
    }
    if let template = change.template, let place = template.place {
      for text in edits.texts { refuse(text, pattern, isRequest, at: place, related, isTemplate: true) }
    }
  }

  private mutating func refuse(
    _ text: String, _ pattern: RoutePattern?, _ isRequest: Bool, at place: Place, _ related: [Diagnostic.Related],
    isTemplate: Bool = false
  ) {
    if !isTemplate && JSONText.isWhole(Array(text.utf8).span) { return }
    do throws(Template.Mistake) {
      let template = try Template(text, path: pattern)
      // The trace begins when the request goes on, and then its body is written.
      if isRequest, template.pieces.contains(.variable(.trace)) {
        mistake(
          "wrong-value", "a request's body is written before its trace begins: it cannot have $trace", at: place,
          spot: place.value, mend: "send it in a field: headers: { request: { set: { x-trace: $trace } } }")
      }
    } catch {
      mistake("wrong-value", error.description, at: place, spot: place.value, related: related)
    }
  }

  /// Where what is wrong stands, as near as it can be told.
  private func place(of error: JSONEdits.Mistake, in change: RouteJSON.Change) -> Place {
    func named(_ path: String) -> Place? {
      change.remove.last { $0.value == path }?.place ?? change.rename.last { $0.name == path }?.value.place
        ?? change.rename.last { $0.value.value == path }?.value.place
        ?? change.set.last { $0.name == path }?.value.place
    }
    let place: Place? =
      switch error {
      case .twice(let path), .within(let path), .badName(let path): named(path)
      case .badTemplate, .badReference: change.template?.place
      case .path: change.template?.place
      case .tooMany: nil
      }
    return place ?? change.place
  }
}
