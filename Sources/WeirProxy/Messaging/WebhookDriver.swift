// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirPlatform
import WeirWire

/// How an endpoint does, as it is shown.
package struct WebhookReading: Sendable, Equatable {
  package var webhook: String
  package var endpoint: String
  /// Without what stands behind the host.
  package var url: String
  /// Nil while it is enabled.
  package var disabled: String?
  /// Since this plane began.
  package var delivered: UInt64 = 0
  /// Attempts that were not taken.
  package var failed: UInt64 = 0
  package var gaveUp: UInt64 = 0
  package var inFlight = 0
  package var waiting: Int64 = 0
  /// Milliseconds.
  package var oldest: Int64?
}

/// What attempts hold in memory, of all endpoints together.
private final class WebhookLoad {
  /// An event has at most a MiB: 64 of the largest, 16 of them at one endpoint.
  static let bytesMax = 64 << 20
  var bytes = 0
  var isFull: Bool { bytes >= WebhookLoad.bytesMax }
}

/// Delivers the events of topics to the endpoints of partners.
///
/// Confined to the first loop, which alone has one. What is done when is decided by ``WebhookDelivery``; which endpoints there
/// are stands in documents of the state process, and is looked up again each second: whoever changes them need not know us.
final class WebhookDriver {
  private unowned let loop: ProxyLoop
  private var webhooks: [WebhookSettings] = []
  private var offices: [String: WebhookOffice] = [:]
  private var readAt = Int64.min
  /// Logs whose groups have not been looked at since this plan is in force.
  private var unchecked: [String] = []
  private var logs: [String] = []
  /// When they are looked at once more; nil: they have been.
  private var onceMoreAt: Int64?
  /// By then a plane that this one has replaced is gone: with its own plan it may have joined again what was left here.
  private static let onceMoreAfter: Int64 = 120_000_000_000
  /// Of the plan: what is heard of an older one counts for nothing.
  private var generation = 0
  private var isChecking = false
  private var checkAt = Int64.min
  private var isStopped = false
  private let load = WebhookLoad()

  init(loop: ProxyLoop) { self.loop = loop }

  /// The webhooks of the newest plan, and the logs that have feed, or had fed, their endpoints.
  func enter(_ webhooks: [WebhookSettings], logs: [String]) {
    self.webhooks = webhooks
    generation += 1
    isChecking = false
    unchecked = logs
    self.logs = logs
    onceMoreAt = loop.now().nanoseconds + WebhookDriver.onceMoreAfter
    for (name, office) in offices where !webhooks.contains(where: { $0.name == name }) {
      office.stop()
      offices[name] = nil
    }
    for settings in webhooks {
      if let office = offices[settings.name], office.moved(to: settings) { continue }
      offices[settings.name]?.stop()
      // Fails only where no context for TLS can be made: then nothing goes out by TLS anywhere.
      offices[settings.name] = try? WebhookOffice(settings, load, loop: loop)
    }
  }

  /// Ten times a second.
  func tick(now: Instant) {
    if isStopped { return }
    if let at = onceMoreAt, now.nanoseconds >= at {
      onceMoreAt = nil
      unchecked = logs
    }
    check(now: now)
    for office in offices.values {
      // A queue of its name that another topic feeds ends first.
      if unchecked.isEmpty { office.mayBegin = true }
      office.tick(now: now)
    }
    if now.nanoseconds < readAt { return }
    readAt = now.nanoseconds + 500_000_000
    let readings = offices.values.flatMap(\.readings).sorted {
      ($0.webhook, $0.endpoint) < ($1.webhook, $1.endpoint)
    }
    loop.node.webhooks.withLock { $0 = readings }
  }

  /// Nothing more is taken; what is under way ends.
  func stop() {
    isStopped = true
    for office in offices.values { office.stop() }
  }

  // MARK: What an older plan has left

  /// Groups that no webhook of this plan has: of one log after the other, until there are none.
  private func check(now: Instant) {
    guard !isChecking, now.nanoseconds >= checkAt, let log = unchecked.last, let state = loop.state else { return }
    isChecking = true
    let generation = generation
    state.ask(.lookLog(log: log), within: 5_000_000_000, now: now) { [self] reply in
      guard generation == self.generation else { return }
      switch reply {
      case .logCounts(let counts):
        leave(WebhookSettings.left(of: counts.groups.map(\.name), of: log, by: webhooks)[...], log, generation)
      case .unknownQueue: isChecked(log)
      default: checkAgain()
      }
    }
  }

  private func leave(_ groups: ArraySlice<String>, _ log: String, _ generation: Int) {
    guard let group = groups.first else { return isChecked(log) }
    guard let state = loop.state else { return checkAgain() }
    state.ask(.leave(log: log, group: group), within: 10_000_000_000, insists: true, now: loop.now()) { [self] reply in
      guard generation == self.generation else { return }
      switch reply {
      case .steered, .unknownQueue: leave(groups.dropFirst(), log, generation)
      default: checkAgain()
      }
    }
  }

  private func isChecked(_ log: String) {
    isChecking = false
    unchecked.removeAll { $0 == log }
  }

  private func checkAgain() {
    isChecking = false
    checkAt = loop.now().nanoseconds + WebhookOffice.lookEvery
  }
}

extension ProxyLoop {
  /// The webhooks of the newest plan; the first loop delivers for all.
  func bringWebhooks(_ configuration: ProxyConfiguration) {
    // Also without webhooks: those that were may have left groups behind.
    let logs = configuration.logs.map(\.name).filter { !$0.contains(".") }
    guard index == 0, webhooks != nil || !configuration.webhooks.isEmpty || !logs.isEmpty else { return }
    let driver = webhooks ?? WebhookDriver(loop: self)
    webhooks = driver
    driver.enter(configuration.webhooks, logs: logs)
  }
}

/// The endpoints of one webhook of the file.
final class WebhookOffice {
  fileprivate static let lookEvery: Int64 = 1_000_000_000
  fileprivate static let countEvery: Int64 = 5_000_000_000
  /// Where there is no endpoint, for there may be what one has left.
  fileprivate static let countRarely: Int64 = 60_000_000_000

  fileprivate unowned let loop: ProxyLoop
  fileprivate private(set) var settings: WebhookSettings
  fileprivate let client: WebhookClient
  fileprivate let load: WebhookLoad
  fileprivate var random: SeededRandom
  private var senders: [String: WebhookSender] = [:]
  private var isLooking = false
  private var hasLooked = false
  private var lookAt = Int64.min
  /// What an older plan has left is gone.
  fileprivate var mayBegin = false
  private var countAt = Int64.min
  fileprivate private(set) var isStopped = false
  private var wall: Int64 = 0

  fileprivate init(_ settings: WebhookSettings, _ load: WebhookLoad, loop: ProxyLoop) throws {
    self.settings = settings
    self.load = load
    self.loop = loop
    client = try WebhookClient(settings.outgoing)
    random = SeededRandom(seed: loop.random.next(), stream: "webhook \(settings.name)")
  }

  /// False when it is another's: other networks, or another topic.
  func moved(to settings: WebhookSettings) -> Bool {
    if settings == self.settings { return true }
    guard settings.outgoing == self.settings.outgoing, settings.topic == self.settings.topic else { return false }
    self.settings = settings
    for sender in senders.values { sender.settingsChanged() }
    return true
  }

  func stop() {
    isStopped = true
    for sender in senders.values { sender.stop() }
    // What they have under way keeps them until it ends.
    senders = [:]
  }

  var readings: [WebhookReading] { senders.values.map(\.reading) }

  /// Wall time that never goes back, as the flows want it.
  fileprivate func now() -> Instant {
    wall = max(wall, SystemClock.wall().milliseconds)
    return Instant(nanoseconds: wall * 1_000_000)
  }

  func tick(now: Instant) {
    if isStopped || !mayBegin { return }
    if !isLooking && now.nanoseconds >= lookAt { look(after: [], seen: [], now: now) }
    if hasLooked && now.nanoseconds >= countAt {
      countAt = now.nanoseconds + (senders.isEmpty ? WebhookOffice.countRarely : WebhookOffice.countEvery)
      count(now: now)
    }
    let wall = self.now()
    for sender in senders.values { sender.tick(now: wall) }
  }

  /// Which endpoints there are.
  private func look(after: [UInt8], seen: Set<String>, now: Instant) {
    guard let state = loop.state else { return }
    isLooking = true
    state.ask(
      .documents(log: settings.documents, after: after, limit: 200), within: 5_000_000_000, now: now
    ) { [self] reply in
      let now = loop.now()
      guard !isStopped, case .documentList(let documents) = reply else {
        isLooking = false
        lookAt = now.nanoseconds + WebhookOffice.lookEvery
        return
      }
      var seen = seen
      for document in documents {
        let id = String(decoding: document.key, as: UTF8.self)
        guard let subscription = WebhookSubscription(document: document.body) else { continue }
        seen.insert(id)
        if let sender = senders[id] {
          sender.apply(subscription, version: document.version)
        } else {
          senders[id] = WebhookSender(id, subscription, version: document.version, office: self)
        }
      }
      if let last = documents.last { return look(after: last.key, seen: seen, now: now) }
      for (id, sender) in senders where !seen.contains(id) {
        sender.remove()
        senders[id] = nil
      }
      if !hasLooked { countAt = .min }
      hasLooked = true
      isLooking = false
      lookAt = now.nanoseconds + WebhookOffice.lookEvery
    }
  }

  private func count(now: Instant) {
    loop.state?.ask(.lookLog(log: settings.topic), within: 5_000_000_000, now: now) { [self] reply in
      guard !isStopped, case .logCounts(let counts) = reply else { return }
      for group in counts.groups {
        guard let id = settings.endpoint(ofQueue: group.name) else { continue }
        if let sender = senders[id] { sender.counted(group.counts) } else { endOrphan(id) }
      }
    }
  }

  /// A group without a sender: its endpoint is new, or was removed by somebody who ended before the group was.
  private func endOrphan(_ id: String) {
    loop.state?.ask(
      .document(log: settings.documents, key: Array(id.utf8)), within: 5_000_000_000, now: loop.now()
    ) { [self] reply in
      guard !isStopped, reply == .document(nil) else { return }
      loop.state?.ask(
        .leave(log: settings.topic, group: settings.queue(id)), within: 10_000_000_000, insists: true, now: loop.now()
      ) { _ in }
    }
  }
}

/// Delivers to one endpoint.
///
/// Confined to its loop.
///
///     join ─▶ ask ─▶ leased ─▶ attempt ─▶ settled ─▶ ask …
///       ▲                         └ disabled ─▶ saved ─▶ leave
/// What is published while it is disabled is not kept for it: who enables it again has it replayed.
final class WebhookSender {
  /// How long an ask waits for messages.
  private static let wait: Int64 = 20_000

  private let id: String
  private unowned let loop: ProxyLoop
  // The office ends its senders before it goes itself.
  private let office: WebhookOffice
  private var subscription: WebhookSubscription
  private var version: Int64
  private var delivery: WebhookDelivery
  private var isJoined = false
  private var isJoining = false
  private var isLeft = false
  private var isLeaving = false
  private var isSaving = false
  /// What is kept of the endpoint differs from what stands in its document.
  private var isDirty = false
  private var saveAt = Int64.min
  private let settler: Settler
  private(set) var reading: WebhookReading

  init(_ id: String, _ subscription: WebhookSubscription, version: Int64, office: WebhookOffice) {
    self.id = id
    self.office = office
    self.subscription = subscription
    self.version = version
    loop = office.loop
    settler = Settler(loop: office.loop)
    delivery = WebhookDelivery(
      WebhookSender.settings(office.settings, subscription), record: subscription.record)
    reading = WebhookReading(webhook: office.settings.name, endpoint: id, url: "")
    read()
  }

  private static func settings(_ settings: WebhookSettings, _ subscription: WebhookSubscription)
    -> WebhookDelivery.Settings
  {
    var delivery = WebhookDelivery.Settings()
    delivery.rate = subscription.rate.map { Rate(perSecond: $0) }
    delivery.schedule.giveUpAfter = .milliseconds(settings.giveUpAfter)
    return delivery
  }

  private var queue: String { office.settings.queue(id) }

  private func read() {
    reading.url = WebhookSubscription.shown(subscription.url)
    reading.disabled = delivery.record.disabled.map(WebhookSubscription.word)
    reading.inFlight = delivery.inFlight
  }

  // MARK: What changes it

  func settingsChanged() {
    delivery.moved(to: WebhookSender.settings(office.settings, subscription))
    // Its queue has another declaration.
    isJoined = false
  }

  /// The document, as it stands now.
  func apply(_ subscription: WebhookSubscription, version: Int64) {
    if version == self.version || isSaving { return }
    self.version = version
    self.subscription = subscription
    delivery.moved(to: WebhookSender.settings(office.settings, subscription))
    let isDisabled = delivery.record.disabled != nil
    if let cause = subscription.record.disabled, !isDisabled {
      delivery.disable(cause)
    } else if subscription.disabled == nil && isDisabled && !isDirty {
      delivery.enable()
      isLeft = false
      isJoined = false
    }
    read()
  }

  /// Its document is gone.
  func remove() {
    stop()
    loop.state?.ask(
      .leave(log: office.settings.topic, group: queue), within: 10_000_000_000, insists: true, now: loop.now()
    ) { _ in }
  }

  func stop() { delivery.stop() }

  func counted(_ counts: QueueCounts) {
    reading.waiting = counts.waiting + counts.delayed
    reading.oldest = counts.oldest
    // Before its queue is full and publishers wait for it.
    if reading.waiting > WebhookSettings.lengthMax / 10 * 8, delivery.record.disabled == nil {
      disable()
    }
  }

  private func disable() {
    delivery.disable(.failing)
    isDirty = true
    saveAt = .min
    read()
  }

  // MARK: Taking

  func tick(now: Instant) {
    if isDirty && !isSaving && now.nanoseconds >= saveAt { save() }
    if delivery.isStopped { return }
    if delivery.record.disabled != nil { return leave() }
    if !isJoined { return join() }
    ask(now: now)
  }

  private func join() {
    guard !isJoining, let state = loop.state else { return }
    isJoining = true
    let request = StateRequest.join(log: office.settings.topic, office.settings.declaration(id))
    state.ask(request, within: 5_000_000_000, now: loop.now()) { [self] reply in
      isJoining = false
      isJoined = reply == .declared
    }
  }

  private func leave() {
    // What is under way says first how it went, and what is kept is on the disk.
    guard !isLeft, !isLeaving, !isDirty, !isSaving, delivery.inFlight == 0, let state = loop.state else { return }
    isLeaving = true
    state.ask(
      .leave(log: office.settings.topic, group: queue), within: 5_000_000_000, now: loop.now()
    ) { [self] reply in
      isLeaving = false
      if reply != nil {
        isLeft = true
        isJoined = false
        reading.waiting = 0
        reading.oldest = nil
      }
    }
  }

  private func ask(now: Instant) {
    guard !office.load.isFull, let state = loop.state else { return }
    let count = delivery.ask(now: now)
    if count == 0 { return }
    let request = StateRequest.lease(
      queue: queue, max: UInt16(min(count, QueueLimits.batchMax)), visibility: nil, wait: WebhookSender.wait)
    state.ask(request, within: WebhookSender.wait * 1_000_000, now: loop.now()) { [self] in leased($0) }
  }

  private func leased(_ reply: StateReply?) {
    let now = office.now()
    guard case .leased(let messages) = reply else {
      if reply == .unknownQueue { isJoined = false }
      return delivery.unanswered(now: now)
    }
    delivery.leased(messages.count)
    let wall = SystemClock.wall().milliseconds
    var isFull = false
    for message in messages {
      // The process has stood still since: it is another's by now, who may be far beyond it.
      if message.until <= wall {
        delivery.skipped()
        continue
      }
      let type = String(decoding: message.entry?.type ?? [], as: UTF8.self)
      if !subscription.wants(type) {
        delivery.skipped()
        settle(message, .ack(result: []))
        continue
      }
      // Answers to many asks have come at once.
      if office.load.isFull {
        isFull = true
        delivery.skipped()
        settle(message, .giveBack)
        continue
      }
      switch delivery.admit(now: now, using: &office.random) {
      case .send(let ticket): begin(message, ticket)
      case .giveBack: settle(message, .giveBack)
      }
    }
    read()
    // It rests a moment, as when nobody answers.
    if isFull { delivery.unanswered(now: now) }
    if isJoined && delivery.record.disabled == nil { ask(now: now) }
  }

  // MARK: An attempt

  private func begin(_ message: LeasedMessage, _ ticket: CircuitBreaker.Ticket) {
    let settings = office.settings
    let at = SystemClock.wall()
    // The same for all attempts of one event, and for all endpoints.
    let position = message.entry.map { "\($0.position)" } ?? String(decoding: message.message.id, as: UTF8.self)
    let webhookID = "msg_\(settings.topic)_\(position)"
    // In the event's trace, below a span that is the attempt's own.
    let sender = MessageTrace(message, of: settings.topic, sample: loop.epoch.configuration.traceSample).sender
    let trace = TraceContext(
      traceHigh: sender.traceHigh, traceLow: sender.traceLow, span: loop.random.next(), flags: sender.flags)
    var fields = WebhookSender.passed(message.message.fields)
    fields += String(decoding: trace.line, as: UTF8.self)
    fields += "\(WebhookSignature.idField): \(webhookID)\r\n"
    fields += "\(WebhookSignature.timestampField): \(at.milliseconds / 1000)\r\n"
    if settings.signs {
      let signature = WebhookSignature.sign(
        id: webhookID, at: at, body: message.message.body, with: subscription.valid(at: at))
      fields += "\(WebhookSignature.signatureField): \(signature ?? "")\r\n"
    }
    let request = WebhookClient.Request(
      url: subscription.url, fields: fields, body: message.message.body, timeout: .milliseconds(settings.timeout))
    let startedAt = loop.now()
    office.load.bytes += request.body.count
    loop.deliveries += 1
    let bound = NIOLoopBound((self, message), eventLoop: loop.eventLoop)
    office.client.send(request, on: loop.eventLoop).whenSuccess { outcome in
      let (sender, message) = bound.value
      sender.ended(message, ticket, outcome, startedAt: startedAt, as: webhookID, in: trace)
      sender.loop.delivered()
    }
  }

  /// Of an event's fields what says how to read it: its type, and the attributes of a CloudEvent.
  private static func passed(_ lines: [UInt8]) -> String {
    let all = String(decoding: lines, as: UTF8.self).split(separator: "\r\n")
    let kept = all.filter { line in
      let name = line.prefix { $0 != ":" }.lowercased()
      return name == "content-type" || name.hasPrefix("ce-")
    }
    return kept.map { $0 + "\r\n" }.joined()
  }

  private func ended(
    _ message: LeasedMessage, _ ticket: CircuitBreaker.Ticket, _ outcome: WebhookClient.Outcome, startedAt: Instant,
    as webhookID: String, in trace: TraceContext
  ) {
    let now = office.now()
    office.load.bytes -= message.message.body.count
    let before = delivery.record
    let told: WebhookEndpoint.Outcome
    var error: String
    var status: UInt16 = 0
    switch outcome {
    case .answered(let answer, let retryAfter):
      told = .answered(answer, retryAfter: retryAfter)
      status = answer
      error = "\(answer) \(StatusPhrase.of(answer))"
    case .failed(let why):
      told = .unanswered
      error = why
    }
    error = String(decoding: error.utf8.prefix(200), as: UTF8.self)
    let accepted = Instant(nanoseconds: message.enqueuedAt * 1_000_000)
    let verdict = delivery.ended(
      ticket, told, attempts: Int(message.attempt), acceptedAt: accepted, now: now, using: &office.random)
    let latency = loop.now().since(startedAt) / 1_000_000
    func nack(_ wait: Int64?, isFinal: Bool) -> Settlement.Verdict {
      .nack(error: error, status: status, latency: latency, retryAfter: wait, isFinal: isFinal)
    }
    switch verdict {
    case .ack:
      reading.delivered &+= 1
      settle(message, .ack(result: []))
    case .retry(let after):
      reading.failed &+= 1
      settle(message, nack(after / 1_000_000, isFinal: false))
    case .gaveUp:
      reading.failed &+= 1
      reading.gaveUp &+= 1
      settle(message, nack(nil, isFinal: true))
    case .giveBack: settle(message, .giveBack)
    case .disabled:
      reading.failed &+= 1
      settle(message, .giveBack)
    }
    keep(before)
    read()
    if loop.keepsAccess {
      let work = AttemptEntry.Work.webhook(
        topic: office.settings.topic, webhook: office.settings.name, endpoint: id)
      loop.keep(
        AttemptEntry(
          work: work, id: message.entry?.id ?? message.message.id, key: Array(webhookID.utf8),
          attempt: Int(message.attempt), startedAt: startedAt, duration: loop.now().since(startedAt),
          outcome: AttemptEntry.Outcome(verdict), status: status, error: status == 0 ? error : "",
          trace: AttemptEntry.Trace(trace)))
    }
    if isJoined && delivery.record.disabled == nil { ask(now: now) }
  }

  // MARK: What is kept

  /// What changes what is done is written at once, how often it failed every half a minute.
  private func keep(_ before: WebhookEndpoint.Record) {
    let record = delivery.record
    if record == before { return }
    let isUrgent = record.disabled != before.disabled || (record.failingSince == nil) != (before.failingSince == nil)
    if !isDirty { saveAt = office.now().nanoseconds + 30_000_000_000 }
    if isUrgent { saveAt = .min }
    isDirty = true
  }

  /// Writes the document with what is known here; what another has changed meanwhile is heard first.
  private func save() {
    guard let state = loop.state else { return }
    isSaving = true
    let record = delivery.record
    let key = Array(id.utf8)
    let log = office.settings.documents
    state.ask(.document(log: log, key: key), within: 5_000_000_000, now: loop.now()) { [self] reply in
      guard case .document(let document) = reply else { return isSaved(false) }
      // It was removed: the next look finds that, too.
      guard let document, var found = WebhookSubscription(document: document.body) else {
        isDirty = false
        return isSaved(true)
      }
      if document.version != version {
        isSaving = false
        apply(found, version: document.version)
        return
      }
      if record.disabled != nil && found.disabled == nil { found.disabledAt = SystemClock.wall().milliseconds }
      found.record = record
      let kept = found
      state.ask(
        .saveDocument(log: log, key: key, body: kept.document, expected: version), within: 5_000_000_000,
        now: loop.now()
      ) { [self] reply in
        guard case .saved(let version) = reply else { return isSaved(false) }
        self.version = version
        subscription = kept
        if delivery.record == record { isDirty = false }
        isSaved(true)
      }
    }
  }

  private func isSaved(_ done: Bool) {
    isSaving = false
    if !done { saveAt = office.now().nanoseconds + 1_000_000_000 }
  }

  // MARK: How it went

  private func settle(_ message: LeasedMessage, _ verdict: Settlement.Verdict) {
    settler.settle(message, verdict, in: queue)
  }
}

extension ProxyServer {
  /// How the endpoints of webhooks do.
  package var webhooks: [WebhookReading] { node.webhooks.withLock { $0 } }
}
