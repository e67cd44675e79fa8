// SPDX-License-Identifier: Apache-2.0

extension Design {
  /// Queues and all that is built on them.
  var effectiveMessaging: [Effective] {
    var all: [Effective] = []
    func add(_ key: Key, _ lines: [Effective]) { if !lines.isEmpty { all.append(.map(key, lines)) } }
    add(RootKeys.jobs, jobs.map { .named($0.name, JobKeys.part.explain($0, self) + how($0.call)) })
    add(
      RootKeys.queues,
      queues.map { .named($0.name, MessageQueueKeys.part.explain($0, self) + ($0.call.map(how) ?? [])) })
    add(RootKeys.topics, topics.map { .named($0.name, TopicKeys.part.explain($0, self)) })
    add(RootKeys.streams, streams.map { .named($0.name, StreamKeys.part.explain($0, self)) })
    add(RootKeys.sagas, sagas.map { .named($0.name, SagaKeys.part.explain($0, self)) })
    add(RootKeys.webhooks, webhooks.map { .named($0.name, WebhookKeys.part.explain($0, self)) })
    return all
  }

  private func how(_ call: Call) -> [Effective] {
    [
      Effective(
        key: "how it calls \(name(of: call.to.value).text)", content: .remark(CallKeys.part.explain(call, self)))
    ]
  }
}
