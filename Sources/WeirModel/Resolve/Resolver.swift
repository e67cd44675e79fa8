// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

/// Turns checked nodes into a `Design`: names become indexes, defaults are set, every value gets its origin.
///
/// What the checker has reported is left out here without a word; what is said here (`unknown-target`, …) needs more
/// than one place of the file.
struct Resolver {
  /// One entry of a named section, from whichever file.
  struct Entry {
    var name: Name
    var node: Node
  }

  let file: String
  /// The roots of all files, the main one first.
  let roots: [Node]
  var mistakes: [Diagnostic] = []
  var refusals: [Design.Refusal]
  private(set) var texts: [Value<Text>] = []
  /// Looked up only: a text of `defaults:` is read for every thing that has it.
  private var notedTexts: Set<Place> = []

  // What may be named, in the order of the files.
  var services: [Entry] = []
  var stores: [Entry] = []
  var queues: [Entry] = []
  var topics: [Entry] = []
  var streams: [Entry] = []
  var sagas: [Entry] = []
  var traffic: [Entry] = []
  /// Components of sections that a later version reads: naming one is no mistake of its own.
  private var laterNames: Set<String> = []
  /// Looked up only, never walked through: a file of a thousand services names them thousands of times.
  private var componentByName: [String: Component] = [:]
  var defaults: [Fields] = []

  var resolvedServices: [Service] = []

  init(file: String, roots: [Node], refusals: [Design.Refusal]) {
    self.file = file
    self.roots = roots
    self.refusals = refusals
  }

  /// The whole design.
  ///
  /// Nil if a file lacks what every system has; that was reported.
  mutating func resolve() -> Design? {
    services = entries(RootKeys.services)
    stores = entries(RootKeys.stores)
    queues = entries(RootKeys.queues)
    topics = entries(RootKeys.topics)
    streams = entries(RootKeys.streams)
    sagas = entries(RootKeys.sagas)
    traffic = entries(RootKeys.traffic)
    refuseSharedNames(services + stores + queues + topics + streams + sagas)
    for (index, entry) in services.enumerated() { componentByName[entry.name.text] = .service(index) }
    for (index, entry) in stores.enumerated() where componentByName[entry.name.text] == nil {
      componentByName[entry.name.text] = .store(index)
    }
    let sinks: [([Entry], (Int) -> Component)] = [
      (queues, { .queue($0) }), (topics, { .topic($0) }), (streams, { .stream($0) }), (sagas, { .saga($0) }),
    ]
    for (entries, component) in sinks {
      for (index, entry) in entries.enumerated() where componentByName[entry.name.text] == nil {
        componentByName[entry.name.text] = component(index)
      }
    }
    let names = roots.flatMap { root in
      // Those of a misspelt section too: `service:` instead of `services:` is one mistake.
      root.entries.filter { RootKeys.laterComponents.contains($0.key) || RootKeys.section.key($0.key) == nil }
        .flatMap { $0.value.entries.map(\.key) }
    }
    laterNames = Set(names)
    if let node = single(RootKeys.defaults) { defaults = [Fields(node, DefaultsKeys.section)] }
    let main = Fields(roots[0], RootKeys.section)
    if let version = main.value(RootKeys.weir), version.value != 1 {
      mistake(
        "wrong-version", "this file is of version \(version.value) of the language; this Weir reads version 1",
        at: version, mend: "weir: 1")
    }
    let owner = main.value(RootKeys.owner)
    let requirements = single(RootKeys.requirements).map { self.requirements(Fields($0, RequirementKeys.section)) }
    resolvedServices = services.indices.map { service($0, owner: owner) }
    for index in resolvedServices.indices { resolvedServices[index].operations = operations(of: index) }
    let resolvedStores = stores.map { store($0, owner: owner) }
    let resolvedQueues = queues.map { queue($0, owner: owner) }
    let resolvedTopics = topics.map { topic($0, owner: owner) }
    let resolvedStreams = streams.map { stream($0, owner: owner) }
    let resolvedSagas = sagas.map { saga($0, owner: owner) }
    let jobs = entries(RootKeys.jobs).compactMap { job($0, owner: owner) }
    let webhooks = entries(RootKeys.webhooks).compactMap { entry in
      WebhookKeys.part.read(Layers([Fields(entry.node, WebhookKeys.part.section)], name: entry.name), &self)
    }
    refuseSharedNames(
      resolvedTopics.map { ($0.name, $0.subscribers) } + resolvedStreams.map { ($0.name, $0.projections) },
      others: resolvedSagas.map { (RootKeys.sagas, $0.name) } + jobs.map { (RootKeys.jobs, $0.name) }
        + webhooks.map { (RootKeys.webhooks, $0.name) })
    refuseUnknownVariables()
    refuseForRun(resolvedStores)
    refuseForSimulate(resolvedQueues)
    refuseForSimulate(resolvedTopics.flatMap(\.subscribers) + resolvedStreams.flatMap(\.projections))
    let state = single(RootKeys.state).flatMap { self.state($0) }
    let tenants = single(RootKeys.tenants).flatMap { self.tenants($0) }
    let gateways = single(RootKeys.gateway).flatMap { gateway($0) }.map { [$0] } ?? []
    if gateways.isEmpty, let first = roots[0].entries.first, single(RootKeys.gateway, alsoReported: true) == nil {
      refuse(
        .run, "this file has no 'gateway': nothing would listen",
        at: Place(file: file, path: "", key: first.keySpot, value: first.value.place.value),
        mend: "gateway: { listen: 8080, routes: { all: { path: /**, to: \(services.first?.name.text ?? "api") } } }")
    }
    let resolvedTraffic = traffic.map { self.traffic($0, gateways: gateways) }
    let scenarios = entries(RootKeys.scenarios).map { scenario($0, requirements: requirements) }
    let acceptances = lists(RootKeys.accept).compactMap { acceptance(Fields($0, AcceptKeys.section)) }
    guard let system = main.value(RootKeys.system) else { return nil }
    return Design(
      file: file, system: system, owner: owner,
      requirements: requirements ?? Requirements(place: nil, availability: nil, latency: [], load: nil),
      gateways: gateways, services: resolvedServices, stores: resolvedStores, queues: resolvedQueues, jobs: jobs,
      topics: resolvedTopics, streams: resolvedStreams, sagas: resolvedSagas, webhooks: webhooks,
      traffic: resolvedTraffic.compactMap { $0 }, scenarios: scenarios, acceptances: acceptances, tenants: tenants,
      state: state, texts: texts,
      refusals: refusals)
  }

  // MARK: Saying what is wrong

  mutating func mistake(
    _ id: String, _ message: String, at place: Place, spot: Spot? = nil, why: String? = nil, mend: String? = nil,
    related: [Diagnostic.Related] = []
  ) {
    mistakes.append(
      Diagnostic(id, .error, message, at: place, spot: spot, why: why, mend: mend, related: related))
  }

  mutating func mistake<T>(
    _ id: String, _ message: String, at value: Value<T>, why: String? = nil, mend: String? = nil,
    related: [Diagnostic.Related] = []
  ) {
    guard let place = value.place else { return }
    mistake(id, message, at: place, spot: place.value, why: why, mend: mend, related: related)
  }

  mutating func refuse(_ verb: Verb, _ message: String, at place: Place, mend: String? = nil) {
    refusals.append(
      Design.Refusal(
        verb: verb, diagnostic: Diagnostic("not-supported", .error, message, at: place, spot: place.head, mend: mend)))
  }

  /// Keeps the texts of the file that may carry a secret, for the rule `literal-secret`.
  mutating func note<T>(_ value: Value<T>) {
    guard let text = value.value as? Text, let place = value.place, notedTexts.insert(place).inserted else { return }
    texts.append(Value(text, value.origin))
  }

  // MARK: Sections, over all files

  /// The node of a section that only one file may have.
  mutating func single(_ key: Key, alsoReported: Bool = false) -> Node? {
    let found = roots.compactMap { $0.entry(key.name)?.value }
    if found.count > 1, !alsoReported {
      for other in found.dropFirst() where !other.isReported {
        other.isReported = true
        mistake(
          "defined-twice", "'\(key.name)' stands in two files", at: other.place, spot: other.place.head,
          mend: "keep one of them", related: [.init(found[0].place, "first written here")])
      }
    }
    return found.first { alsoReported || !$0.isReported }
  }

  /// The entries of a named section, of all files; a name that two files give is a mistake.
  private mutating func entries(_ key: Key) -> [Entry] {
    var found: [Entry] = []
    for root in roots {
      guard let section = root.entry(key.name)?.value, !section.isReported else { continue }
      for entry in section.entries {
        if let first = found.first(where: { $0.name.text == entry.key }) {
          definedTwice(entry.key, entry.value.place, first.name.place)
        } else {
          found.append(Entry(name: Name(entry.key, entry.value.place), node: entry.value))
        }
      }
    }
    return found
  }

  private func lists(_ key: Key) -> [Node] {
    roots.flatMap { root in
      root.entry(key.name).map { $0.value.isReported ? [] : $0.value.items } ?? []
    }
  }

  private mutating func definedTwice(_ name: String, _ place: Place, _ first: Place) {
    mistake(
      "defined-twice", "'\(name)' is defined twice", at: place, spot: place.head, mend: "give one of them another name",
      related: [.init(first, "first defined here")])
  }

  /// All components share one namespace, as they are what `calls`, `to` and `sends` name.
  private mutating func refuseSharedNames(_ all: [Entry]) {
    for (index, entry) in all.enumerated() {
      if let first = all[..<index].first(where: { $0.name.text == entry.name.text }) {
        definedTwice(entry.name.text, entry.name.place, first.name.place)
      }
    }
  }

  // MARK: Names

  /// The component of a name; says so if there is none, unless it is of a later version.
  mutating func component(_ name: Value<String>, _ what: String = "a service or store") -> Component? {
    switch componentByName[name.value] {
    case .service(let index)?: return .service(index)
    case .store(let index)?: return .store(index)
    case .queue?, .topic?, .stream?, .saga?:
      let kind = componentByName[name.value].map(kind) ?? ""
      mistake(
        "unknown-target", "'\(name.value)' is a \(kind): it is sent to, not called", at: name,
        mend: "sends: [\(name.value)]")
      return nil
    case nil: break
    }
    if !laterNames.contains(name.value) { unknownTarget(name, what, among: (services + stores).map(\.name.text)) }
    return nil
  }

  /// Whatever bears the name; nothing is said.
  func componentNamed(_ name: String) -> Component? { componentByName[name] }

  /// Whether the name is of something that is sent to.
  func isSink(_ name: String) -> Bool {
    switch componentByName[name] {
    case .queue?, .topic?, .stream?, .saga?: true
    case .service?, .store?, nil: false
    }
  }

  /// Whether the name is of a section that a later version reads.
  func isLater(_ name: String) -> Bool { laterNames.contains(name) }

  /// The service of a name: stores cannot be routed to, started after, killed.
  mutating func service(_ name: Value<String>, whatFor: String) -> Int? {
    switch componentByName[name.value] {
    case .service(let index)?: return index
    case nil: break
    case .store?, .queue?, .topic?, .stream?, .saga?:
      let kind = componentByName[name.value].map(kind) ?? ""
      mistake(
        "unknown-target", "'\(name.value)' is a \(kind); \(whatFor) needs a service", at: name,
        mend: services.isEmpty ? nil : "one of: \(services.map(\.name.text).joined(separator: ", "))")
      return nil
    }
    if !laterNames.contains(name.value) { unknownTarget(name, "a service", among: services.map(\.name.text)) }
    return nil
  }

  mutating func unknownTarget(_ name: Value<String>, _ what: String, among names: [String]) {
    var message = "'\(name.value)' is not \(what) of this file"
    var mend: String?
    if let meant = Nearest.to(name.value, among: names) {
      message += ": did you mean '\(meant)'?"
      mend = meant
    } else if names.isEmpty {
      message += ": there is none"
    } else {
      mend = "one of \(names.prefix(12).joined(separator: ", "))\(names.count > 12 ? ", …" : "")"
    }
    // `to: api`: what can be pasted over the entry; an item of a list has no key.
    let key = name.place?.key == nil ? nil : name.place?.path.split(separator: ".").last
    mistake(
      "unknown-target", message, at: name, mend: mend.map { mend in key.map { "\($0): \(mend)" } ?? mend })
  }

  // MARK: Small sections

  func requirements(_ fields: Fields) -> Requirements {
    Requirements(
      place: fields.node.place, availability: fields.value(RequirementKeys.availability),
      latency: fields.section(RequirementKeys.latency, LatencyKeys.section).map(latency) ?? [],
      load: fields.value(RequirementKeys.load), lostMessages: fields.value(RequirementKeys.lostMessages),
      outOfOrder: fields.value(RequirementKeys.outOfOrder), doneTwice: fields.value(RequirementKeys.doneTwice),
      halfDone: fields.value(RequirementKeys.halfDone), lag: fields.value(RequirementKeys.lag),
      drain: fields.value(RequirementKeys.drain))
  }

  private func latency(_ fields: Fields) -> [LatencyBound] {
    LatencyKeys.quantiles.compactMap { quantile in
      fields.value(quantile.key).map {
        LatencyBound(quantile: quantile.share, label: quantile.key.name, bound: $0)
      }
    }
  }

  private mutating func store(_ entry: Entry, owner: Value<String>?) -> Store {
    let fields = Fields(entry.node, StoreKeys.section)
    let engine = fields.value(StoreKeys.engine)
    let path = fields.value(StoreKeys.path)
    let at = Fields.values(fields.node(StoreKeys.at.name), ScalarType<Text>.endpoint)
    for value in at { note(value) }
    if let engine, !entry.node.isReported {
      if engine.value == .sqlite, path == nil, entry.node.entry("path") == nil {
        mistake(
          "missing-key", "'\(entry.name.path)' has no 'path': where is the file of this sqlite store?",
          at: entry.name.place, spot: entry.name.place.head, mend: "path: data/\(entry.name.text).db")
      }
      if engine.value == .sqlite, let first = at.first {
        mistake(
          "wrong-value", "a sqlite store is a file: it has a 'path' and no 'at'", at: first,
          mend: "path: data/\(entry.name.text).db")
      }
      if engine.value != .sqlite, let path {
        mistake("wrong-value", "a \(engine.value.rawValue) store has no 'path': it runs 'at' an address", at: path)
      }
    }
    let connection = fields.value(StoreKeys.connection)
    if let connection { note(connection) }
    let outbox = fields.value(StoreKeys.outbox)
    if let engine, !entry.node.isReported { outboxMistakes(entry, engine.value, outbox, connection) }
    let workFields = fields.section(StoreKeys.work, WorkKeys.storeSection)
    let whole = workFields.flatMap { work($0) }
    let read = workFields?.section(WorkKeys.read, WorkKeys.section).flatMap { work($0) }
    let write = workFields?.section(WorkKeys.write, WorkKeys.section).flatMap { work($0) }
    return Store(
      name: entry.name, owner: self.owner(fields.value(StoreKeys.owner), of: owner),
      engine: engine ?? Value(.other, .derived(from: "a mistake")), path: path, at: at,
      connection: connection, outbox: outbox,
      maxConnections: fields.value(StoreKeys.maxConnections),
      pool: fields.section(StoreKeys.pool, PoolKeys.section)?.value(PoolKeys.size),
      atOnce: workFields.flatMap { Layers([$0]).valueOrNone(WorkKeys.atOnce) }, work: read ?? whole,
      write: write ?? (read == nil ? nil : whole))
  }

  private mutating func outboxMistakes(
    _ entry: Entry, _ engine: Store.Engine, _ outbox: Value<String>?, _ connection: Value<Text>?
  ) {
    if let connection, engine != .postgres {
      mistake("wrong-value", "only a postgres store has a 'connection'; this is \(engine.rawValue)", at: connection)
    }
    guard let outbox, !outbox.value.isEmpty else {
      if let connection, engine == .postgres, entry.node.entry(StoreKeys.outbox.name) == nil {
        mistake(
          "missing-key", "'\(entry.name.path)' has a 'connection' and no 'outbox': Weir itself connects for that alone",
          at: connection, mend: "outbox: weir_outbox")
      }
      return
    }
    if engine != .sqlite && engine != .postgres {
      mistake(
        "wrong-value", "Weir sends from outboxes of sqlite and postgres stores; this is \(engine.rawValue)", at: outbox)
    } else if !Store.isTable(outbox.value, schema: engine == .postgres) {
      let name = engine == .postgres ? "a table, or a schema and a table" : "a table"
      mistake(
        "wrong-value", "'\(outbox.value)' is not \(name): letters, digits and underscores", at: outbox,
        mend: "outbox: weir_outbox")
    } else if engine == .postgres, entry.node.entry(StoreKeys.connection.name) == nil,
      entry.node.entry(StoreKeys.at.name) == nil
    {
      mistake(
        "missing-key", "'\(entry.name.path)' has an outbox and no 'connection': where is its database?", at: outbox,
        mend: "connection: $(secret:\(entry.name.text))")
    }
  }

  func owner(_ own: Value<String>?, of system: Value<String>?) -> Value<String>? {
    own ?? system.map { Value($0.value, .derived(from: "the system's owner")) }
  }

  private mutating func acceptance(_ fields: Fields) -> Acceptance? {
    guard let rule = fields.value(AcceptKeys.rule), let at = fields.value(AcceptKeys.place) else { return nil }
    let paths = roots.flatMap(allPaths)
    if !paths.contains(at.value) {
      var message = "there is no '\(at.value.prefixForMessage)' in this file"
      let meant = Nearest.to(at.value, among: paths)
      if let meant { message += ": did you mean '\(meant)'?" }
      mistake(
        "unknown-target", message, at: at, why: "an acceptance names the place of the finding, as check prints it",
        mend: meant.map { "place: \($0)" })
    }
    return Acceptance(
      place: fields.node.place, rule: rule, at: at, because: fields.value(AcceptKeys.because),
      owner: fields.value(AcceptKeys.owner), until: fields.value(AcceptKeys.until))
  }

  private func allPaths(_ node: Node) -> [String] {
    switch node.kind {
    case .scalar: [node.place.path]
    case .list(let items): [node.place.path] + items.flatMap(allPaths)
    case .map(let entries): [node.place.path] + entries.flatMap { allPaths($0.value) }
    }
  }

  // MARK: Commands

  /// A command's `$NAME` must be a variable that the program gets: a typing error would start it with an empty word.
  private mutating func refuseUnknownVariables() {
    for service in resolvedServices {
      guard case .program(let program) = service.kind, let place = program.command.place else { continue }
      // What it calls that a later version reads would have a variable too.
      let node = services.first { $0.name == service.name }?.node
      let sent = node?.entry("sends")?.value
      let written =
        (node?.entry("calls")?.value.entries.count ?? 0) + (sent?.scalar == nil ? sent?.items.count ?? 0 : 1)
      var known = ["PORT", "WEIR_SOCKET", "WEIR_URL"] + program.environment.map(\.name)
      known += (service.calls.map(\.to.value) + service.sends.map(\.value) + program.after.map(\.value)).map {
        Plan.variable(for: componentName($0))
      }
      for name in Resolver.variables(in: program.command.value) where !known.contains(name) {
        let owner = (services + stores + queues + topics + streams + sagas).first {
          Plan.variable(for: $0.name.text) == name
        }
        if let owner, isSink(owner.name.text) {
          mistake(
            "unknown-variable",
            "$\(name) is there for those who send to '\(owner.name.text)', and '\(service.name.text)' does not",
            at: place, spot: place.value, mend: "sends: [\(owner.name.text)]")
        } else if let owner {
          mistake(
            "unknown-variable",
            "$\(name) is there for those who call '\(owner.name.text)', and '\(service.name.text)' does not",
            at: place, spot: place.value, mend: "calls: { \(owner.name.text): {} }")
        } else if written == service.calls.count + service.sends.count {
          var message = "the program gets no variable '\(name)'"
          let meant = Nearest.to(name, among: known)
          if let meant { message += ": did you mean '$\(meant)'?" }
          mistake(
            "unknown-variable", message, at: place, spot: place.value,
            why: "it would be an empty word: no shell is started, and of Weir's own environment nothing is passed on",
            mend: meant == nil ? "run: { command: …, env: { \(name): … } }" : nil)
        }
      }
    }
  }

  /// The names behind `$` and `${` in a command; what stands in single quotes or behind a backslash is left alone.
  static func variables(in command: Text) -> [String] {
    var names: [String] = []
    for case .literal(let text) in command.parts {
      var rest = Substring(text)
      var quoted = false
      while let character = rest.first {
        rest = rest.dropFirst()
        if character == "'" { quoted.toggle() }
        if character == "\\" && !quoted { rest = rest.dropFirst() }
        guard character == "$", !quoted else { continue }
        if rest.first == "{" { rest = rest.dropFirst() }
        let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        if let first = name.first, !first.isNumber, !names.contains(String(name)) { names.append(String(name)) }
        rest = rest.dropFirst(name.count)
      }
    }
    return names
  }

  // MARK: What run cannot do

  private mutating func refuseForRun(_ stores: [Store]) {
    for service in resolvedServices {
      if case .modelled = service.kind {
        refuse(
          .run, "'\(service.name.text)' has neither 'run' nor 'at': there is nothing to start or to reach",
          at: service.name.place, mend: "run: my-program --port $PORT")
      }
      for call in service.calls {
        guard case .store(let index) = call.to.value else { continue }
        let store = stores[index]
        if store.path == nil && store.at.isEmpty {
          refuse(
            .run, "'\(store.name.text)' has neither 'path' nor 'at': '\(service.name.text)' could not reach it",
            at: store.name.place, mend: "at: \"\(store.name.text):5432\"")
        }
      }
    }
  }
}
