// SPDX-License-Identifier: Apache-2.0

/// The keys at the top of a file.
enum RootKeys {
  static let weir = ScalarKey("weir", .count(1...1_000_000), required: true, "The version of the language: 1.")
  static let system = ScalarKey(
    "system", .name, required: true, "The system's name: it stands in metrics, logs and the name of the state folder.")
  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "platform-team"),
    "Who answers for the system; services and stores have it too unless they say another.")
  static let include = Key(
    "include", .list(.scalar(.text("a path", example: "scenarios/*.yaml"))),
    "Files that belong to this one, relative to it; `*` stands for any characters of one file name. A name that two "
      + "files give is an error with both places.")
  static let defaults = Key(
    "defaults", .section(DefaultsKeys.section), "What holds for all calls, services and routes that do not say.")
  static let requirements = Key(
    "requirements", .section(RequirementKeys.section), "What the system must reach: check and simulate judge by it.")
  static let gateway = Key(
    "gateway", .section(GatewayKeys.section), "Where requests from outside come in, and where they go.")
  static let services = Key(
    "services", .named(.components("a service"), .section(ServiceKeys.section)), "Programs that answer requests.")
  static let stores = Key(
    "stores", .named(.components("a store"), .section(StoreKeys.section)),
    "Databases: what keeps data and is called by the programs themselves.")
  static let queues = Key(
    "queues", .named(.components("a queue"), .section(MessageQueueKeys.part.section)),
    "Work that waits until somebody does it, and is not lost.")
  static let jobs = Key(
    "jobs", .named(.plain("a job"), .section(JobKeys.part.section)), "What runs by the clock.")
  static let topics = Key(
    "topics", .named(.components("a topic"), .section(TopicKeys.part.section)), "Events that several may hear.")
  static let streams = Key(
    "streams", .named(.components("a stream"), .section(StreamKeys.part.section)),
    "Ordered logs of events, and what is made of them.")
  static let sagas = Key(
    "sagas", .named(.components("a saga"), .section(SagaKeys.part.section)),
    "Transactions over several services, with what undoes each step.")
  static let webhooks = Key(
    "webhooks", .named(.plain("a webhook"), .section(WebhookKeys.part.section)), "Events delivered to others.")
  static let state = Key(
    "state", .section(StateKeys.section), "What Weir itself must not forget, and how it is saved from a broken disk.")
  static let tenants = Key(
    "tenants", .section(TenantKeys.section), "Customers who share the system, and their plans.")
  static let traffic = Key(
    "traffic", .named(.plain("traffic"), .section(TrafficKeys.section)), "What comes in, and how often.",
    modelOnly: true)
  static let scenarios = Key(
    "scenarios", .named(.plain("a scenario"), .section(ScenarioKeys.section)),
    "Stories of load and failures, and what must hold in them.", modelOnly: true)
  static let accept = Key(
    "accept", .list(.section(AcceptKeys.section)), "Findings of `weir check` that somebody has decided to live with.")

  static let section = Section(
    name: "file", doc: "A Weir file describes one system.",
    keys: [
      weir.key, system.key, owner.key, include, defaults, requirements, gateway, services, stores, jobs, queues, topics,
      streams, sagas, webhooks, state, tenants, traffic, scenarios, accept,
      .later("environments", "Values that change by environment."),
      .later("regions", "Regions, their zones and the distances between them."),
      .later("machines", "Kinds of machines, with CPU, memory and price."),
      .later("gateways", "Several gateways, by name."),
      .later("functions", "Programs that are started for a request."),
      .later("caches", "Caches, with size, policy and what drops them."),
      .later("buckets", "Files, with versions and expiry."),
      .later("flags", "Switches for features."),
      .later("observe", "Traces and where they go."),
      .later("alerts", "What somebody is woken for."),
      .later("security", "Certificates between services, secrets, audit."),
      .later("nodes", "The machines that Weir runs on."),
      .later("decisions", "Choices that were made, and why."),
    ])

  /// Sections whose entries are components that `calls`, `to` and faults may name: later ones.
  static let laterComponents = ["functions", "caches", "buckets"]
}

extension Shape.Names {
  /// Names of one namespace: services, stores, what is sent to and all that comes later.
  static func components(_ what: String) -> Shape.Names {
    Shape.Names(what: what, problem: nameProblem, pattern: namePattern)
  }
  /// Names within their own section.
  static func plain(_ what: String) -> Shape.Names {
    Shape.Names(what: what, problem: nameProblem, pattern: namePattern)
  }
}
