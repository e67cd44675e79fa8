// SPDX-License-Identifier: Apache-2.0

/// A request that Weir makes by itself: the delivery of a message, what the clock starts, a step of a saga.
package struct Errand: Sendable, Equatable {
  /// Index in `Design.services`.
  package var service: Int
  package var method: String
  /// As written, without wildcards.
  package var path: String
  /// Index in the service's operations; nil if it declares none.
  package var operation: Int?

  /// As the file writes it: `POST mailer/send`.
  func target(_ design: Design) -> Target {
    Target(method: method, component: design.services[service].name.text, path: path)
  }
}

extension Resolver {
  /// The request that somebody makes (`whatFor`: `a queue`); says what is wrong with it.
  mutating func errand(_ target: Value<Target>, whatFor: String) -> Value<Errand>? {
    let key = target.place?.path.split(separator: ".").last ?? "to"
    guard let name = target.value.component else {
      mistake(
        "wrong-value", "\(whatFor) calls a service, and '\(target.value.text)' goes through the gateway", at: target,
        mend: "\(key): POST \(services.first?.name.text ?? "api")\(target.value.path ?? "/")")
      return nil
    }
    if componentNamed(name) == nil, !isLater(name), let meant = Nearest.to(name, among: services.map(\.name.text)) {
      var better = target.value
      better.component = meant
      mistake(
        "unknown-target", "'\(name)' is not a service of this file: did you mean '\(meant)'?", at: target,
        mend: "\(key): \(better.text)")
      return nil
    }
    guard let service = self.service(target.map { _ in name }, whatFor: whatFor) else { return nil }
    guard let method = target.value.method, let path = target.value.path else {
      mistake(
        "wrong-value", "\(whatFor) calls an operation of a service, and '\(target.value.text)' does not say which",
        at: target, mend: "\(key): POST \(name)\(firstPost(of: service) ?? "/")")
      return nil
    }
    guard ["POST", "PUT", "PATCH"].contains(method) else {
      mistake(
        "wrong-value", "\(whatFor) sends something to be worked on, which \(method) does not carry", at: target,
        mend: "\(key): POST \(name)\(path)")
      return nil
    }
    if path.contains("*") {
      mistake(
        "wrong-value", "\(whatFor) calls one path, without wildcards", at: target,
        mend: "\(key): POST \(name)\(firstPost(of: service) ?? "/")")
      return nil
    }
    let operation = operation(target, method: method, path: path, of: service)
    return target.map { _ in Errand(service: service, method: method, path: path, operation: operation) }
  }

  /// The path of the first operation that a service declares for POST.
  private func firstPost(of service: Int) -> String? {
    let declared = services[service].node.entry(ServiceKeys.operations.name)?.value.entries ?? []
    let paths = declared.lazy.map { $0.key.split(separator: " ") }.filter { $0.first == "POST" && $0.count == 2 }
    return paths.map { String($0[1]) }.first { !$0.contains("*") }
  }
}
