// SPDX-License-Identifier: Apache-2.0

extension Resolver {
  /// One entry of `calls:`.
  mutating func call(_ entry: Node.Entry, from caller: Name) -> Call? {
    let place = entry.value.place
    // A name that cannot be one was reported; a body with mistakes still names its callee.
    let name = Value(entry.key, .written(Place(file: place.file, path: place.path, value: entry.keySpot)))
    guard nameProblem(entry.key) == nil, let to = component(name) else { return nil }
    let fields = Fields(entry.value, CallKeys.section)
    let layers = Layers([entry.value.isReported ? nil : fields] + callDefaults)
    if case .store = to { refuseForStore(fields, entry.key) }
    return call(layers, to: name.map { _ in to }, place: place)
  }

  var callDefaults: [Fields?] { defaults.map { $0.section(DefaultsKeys.call, DefaultsKeys.callSection) } }

  /// Programs call their stores by themselves: what Weir would do on the way it cannot do there.
  private mutating func refuseForStore(_ fields: Fields, _ name: String) {
    if let node = fields.node(LabelKeys.subset.name) {
      mistake(
        "conflict", "'\(name)' is a store: it has no instances with labels", at: node.place, spot: node.place.entry,
        mend: "leave 'subset' out")
    }
    for key in [CallKeys.retry, CallKeys.breaker, CallKeys.fallback] {
      guard let node = fields.node(key.name) else { continue }
      refuse(
        .run, "'\(name)' is a store, which programs call by themselves: weir run cannot do '\(key.name)' there",
        at: node.place, mend: "leave '\(key.name)' out, or do it in the program")
    }
  }

  /// The settings of a call from its layers, the nearest first.
  mutating func call(_ layers: Layers, to: Value<Component>, place: Place) -> Call {
    var call = Call(place: place, to: to)
    CallKeys.part.read(layers, &self, into: &call)
    call.derive()
    return call
  }
}
