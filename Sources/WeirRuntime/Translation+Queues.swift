// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirMessaging
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirWire

extension Translation {
  /// The plan's queues in the words of the state process, and who their messages are brought to.
  static func queues(_ configuration: inout ProxyConfiguration, _ plan: Plan) throws(PlaneError) {
    func milliseconds(_ duration: Duration) -> Int64 { duration.inNanoseconds / 1_000_000 }
    configuration.queues = plan.queues.map { queue in
      let settings = queue.settings
      var declaration = QueueDeclaration(name: queue.name)
      declaration.visibility = milliseconds(settings.visibility)
      declaration.attempts = UInt16(clamping: settings.attempts)
      declaration.backoffFirst = milliseconds(settings.backoff.first)
      declaration.backoffMax = milliseconds(settings.backoff.max)
      declaration.backoffJitter = settings.backoff.jitter
      declaration.keepsDead = settings.keepsDead
      declaration.keep = milliseconds(settings.keep)
      declaration.dedup = milliseconds(settings.dedup)
      declaration.length = Int64(settings.length)
      declaration.bytes = Int64(settings.bytes)
      declaration.atOnce = Int32(clamping: settings.atOnce)
      declaration.keyAtOnce = Int32(clamping: settings.keyAtOnce)
      declaration.rate = settings.rate?.perSecond
      declaration.order = plan.order(of: queue)
      return declaration
    }
    // So that a job's queue knows its last run when the next one is due.
    for job in plan.jobs {
      let memory = milliseconds(JobClock.memory(of: job, now: SystemClock.wall()))
      configuration.queues[job.queue].dedup = max(configuration.queues[job.queue].dedup, memory)
    }
    configuration.webhooks = webhooks(plan)
    configuration.logs = plan.logs.map { declaration($0, plan) } + documents(configuration.webhooks)
    configuration.messaging = MessagingAPI(
      queues: QueueAPI(keyFields: plan.queues.reduce(into: [:]) { keys, queue in keys[queue.name] = queue.keyField }),
      logs: try logs(plan), webhooks: WebhookAPI(configuration.webhooks))
    configuration.pushes = plan.queues.enumerated().compactMap { index, queue in
      guard let push = queue.push else { return nil }
      let settings = QueueDelivery.Settings(
        atOnce: queue.settings.atOnce, batch: push.batch, attempts: queue.settings.attempts)
      var brought = QueuePush(
        name: queue.name, edge: push.edge, service: plan.services[push.service].name, method: push.method,
        path: push.path, settings: settings)
      if let log = queue.log.map({ plan.logs[$0] }), let group = log.groups.first(where: { $0.queue == index }) {
        brought.source = QueuePush.Source(log: log.name, group: group.name, isStream: log.isStream)
      }
      return brought
    }
  }

  /// Topics and streams, as programs reach them.
  private static func logs(_ plan: Plan) throws(PlaneError) -> LogAPI {
    var logs: [LogAPI.Log] = []
    for log in plan.logs {
      var schema: JSONSchema?
      if let file = log.schema { schema = try self.schema(file, of: log.name, plan) }
      logs.append(
        LogAPI.Log(
          log.isStream ? .stream : .topic, log.name, key: log.keyField, types: log.types, schema: schema,
          groups: log.groups.map(\.name), marks: plan.marks(of: log)))
    }
    return LogAPI(logs)
  }

  private static func schema(_ file: String, of topic: String, _ plan: Plan) throws(PlaneError) -> JSONSchema {
    let path = Files.resolve(file, in: Files.parent(of: plan.design.file))
    let bytes: [UInt8]
    do throws(SystemError) { bytes = try Files.bytes(path) } catch {
      throw PlaneError("the schema of topic '\(topic)' cannot be read: \(error)")
    }
    do throws(JSONSchema.Unusable) { return try JSONSchema(bytes) } catch {
      let flaws = error.flaws.map { "\($0.at): \($0.what)" }.joined(separator: "; ")
      throw PlaneError("the schema of topic '\(topic)', \(file), cannot be used: \(flaws)")
    }
  }

  private static func declaration(_ log: Plan.Log, _ plan: Plan) -> LogDeclaration {
    var declaration = LogDeclaration(name: log.name)
    declaration.keep = log.keep.map { $0.inNanoseconds / 1_000_000 }
    declaration.bytes = log.bytes.map { Int64($0) }
    declaration.forgetting =
      switch log.forgetting {
      case .entries: .entries
      case .streams: .streams
      }
    declaration.groups = log.groups.map { LogGroup(queue: plan.queues[$0.queue].name, fromStart: $0.fromStart) }
    return declaration
  }
}
