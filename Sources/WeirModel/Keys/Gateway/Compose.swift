// SPDX-License-Identifier: Apache-2.0

/// One part of an answer that is made of several calls.
package struct ComposedPart: Sendable, Equatable {
  package var name: Name
  /// Index in `Design.services`.
  package var to: Value<Int>
  /// The path that is asked for, as written.
  package var path: String
  /// Index in the callee's operations.
  package var operation: Int?
  package var optional = ComposeKeys.optional.initial
}

/// `compose:` of a route.
enum ComposeKeys {
  /// With 1 MiB for each part a request holds at most 16 MiB, and as much again while its answer is written.
  static let partsMax = 16
  static let `do` = ScalarKey(
    "do", ScalarType<Target>.target, required: true, "The call: `GET catalog/top`.")
  static let optional = ScalarKey(
    "optional", .bool, default: false, rule: "compose.optional",
    "Whether the answer is whole without it: then it is left out when its call fails.")

  static let section = Section(
    name: "compose-part", doc: "One call of a composed answer.", keys: [`do`.key, optional.key], short: `do`.key)
  static let key = Key(
    "compose", .named(.parts, .section(section)),
    "A JSON object whose members are the answers of several calls, made at the same time.", alias: ["aggregate"])

  static let field = Field<RouteEdge>.custom(
    key,
    read: { layers, resolver, edge in
      guard let node = layers.node(key) else { return }
      let count = node.entries.count
      if count == 0 || count > partsMax {
        resolver.mistake(
          "wrong-value", "an answer is made of 1 to \(partsMax) calls, not of \(count)", at: node.place,
          spot: node.place.value, mend: "compose: { top: GET \(resolver.services.first?.name.text ?? "api")/top }")
        return
      }
      for entry in node.entries where !entry.value.isReported {
        let fields = Fields(entry.value, section)
        guard let target = fields.value(`do`) else { continue }
        resolver.part(Name(entry.key, entry.value.place), target, fields).map { edge.compose.append($0) }
      }
    },
    explain: { edge, design in
      if edge.compose.isEmpty { return [] }
      let parts = edge.compose.map { part in
        Effective.named(
          part.name,
          [
            Effective(
              key: `do`.name, content: .value("GET \(design.services[part.to.value].name.text)\(part.path)"),
              origin: part.to.origin), .leaf(optional, part.optional),
          ])
      }
      return [.map(key, parts)]
    })
}

extension Resolver {
  /// A part of a composed answer; says what is wrong with it.
  fileprivate mutating func part(_ name: Name, _ target: Value<Target>, _ fields: Fields) -> ComposedPart? {
    guard let component = target.value.component else {
      mistake(
        "wrong-value", "a part is a call of a service, and '\(target.value.text)' goes through the gateway", at: target,
        mend: "do: GET \(services.first?.name.text ?? "api")\(target.value.path ?? "/")")
      return nil
    }
    let path = target.value.path ?? "/"
    if let method = target.value.method, method != "GET" {
      mistake(
        "wrong-value", "the parts of a composed answer are read, by GET, not by \(method)", at: target,
        why: "calls made at the same time have no order, and cannot be taken back", mend: "do: GET \(component)\(path)")
      return nil
    }
    if path.contains("*") {
      mistake(
        "wrong-value", "a part asks for one path, without wildcards", at: target, mend: "do: GET \(component)/top")
      return nil
    }
    guard let service = self.service(target.map { _ in component }, whatFor: "a part") else { return nil }
    var part = ComposedPart(name: name, to: target.map { _ in service }, path: path)
    part.operation = operation(target, method: "GET", path: path, of: service)
    part.optional = fields.value(ComposeKeys.optional) ?? ComposeKeys.optional.initial
    return part
  }
}

extension Shape.Names {
  static let parts = Shape.Names(
    what: "a part",
    problem: { text in
      let isFine =
        !text.isEmpty && text.utf8.count <= 64
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 95
        }
      return isFine ? nil : "a part is a member of a JSON object: letters, digits, dashes and _, at most 64"
    }, pattern: "^[A-Za-z0-9_-]{1,64}$")
}
