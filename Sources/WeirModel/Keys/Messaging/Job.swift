// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirPatterns

/// What runs by the clock: a queue of its own, with a message for each run.
package struct Job: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  package var every: Value<JobTime>
  package var zone = JobKeys.zone.initial
  package var to: Value<Errand>
  /// How a run is begun, and waited for.
  package var call: Call
  package var missed = JobKeys.missed.initial
  package var timeout = JobKeys.timeout.initial
  package var retry = JobKeys.retryInitial

  /// One run at a time and one that waits: when a third is due, it is left out.
  static let length = 2

  var settings: DeliveryQueue.Settings {
    var settings = DeliveryQueue.Settings()
    // A delivery has two thirds of a lease; rounded up to milliseconds.
    settings.visibility = .milliseconds((timeout.value.inNanoseconds / 1_000_000 + 1) * 3 / 2)
    settings.attempts = retry.attempts.value
    settings.backoff.first = retry.first.value
    settings.backoff.max = retry.max.value
    settings.backoff.jitter = retry.jitter.value
    settings.length = Job.length
    settings.atOnce = 1
    return settings
  }
}

/// When a job runs.
package struct JobTime: Sendable, Equatable {
  /// As written.
  package var text: String
  package var schedule: CronSchedule
}

/// What becomes of runs that nobody was there for.
package enum JobMissed: String, Sendable, CaseIterable {
  case once, none

  var pattern: CronSchedule.Missed { self == .once ? .once : .none }
}

/// One entry of `jobs:`.
enum JobKeys {
  static let every = ScalarKey(
    "every", .jobTime, required: true,
    "When it runs: so often, or at the times of five cron fields (minute, hour, day, month, day of the week).",
    alias: ["schedule", "cron", "at"])
  static let zone = ScalarKey(
    "zone", .zone, default: JobZone.utc, rule: "job.zone (the same everywhere, and no hour is missing or comes twice)",
    "Where the times of cron fields are meant; the machine's database of zones says when its clocks change.",
    alias: ["timezone", "time-zone", "tz"])
  static let missed = ScalarKey(
    "missed", ScalarType<JobMissed>.word,
    default: CronSchedule.Settings().missed == .once ? JobMissed.once : JobMissed.none,
    rule: "job.missed (the last run is what counts)",
    "Runs that nobody was there for: the last of them is caught up (`once`), or `none`.",
    alias: ["catch-up", "misfire"])
  static let `do` = ScalarKey(
    "do", ScalarType<Target>.target, required: true,
    "The operation of a service that is the run: `POST orders/reconcile`.",
    alias: ["run", "call", "to"])
  static let timeout = ScalarKey(
    "timeout", .duration(), default: .seconds(600), rule: "job.timeout (longer than any request)",
    "The longest that a run may take.", alias: ["deadline"])
  static let retry = Key(
    "retry", .section(MessageRetryKeys.part.section), default: "a few attempts, for the next run comes anyway",
    "When a run that failed is tried again.", alias: ["retries"])

  static var retryInitial: MessageRetry {
    var retry = MessageRetry()
    retry.attempts = Value(3, .defaulted(rule: "job-retry.attempts (the next run comes anyway)"))
    return retry
  }

  static let part = Part<Job>(
    "job", "What runs by the clock; runs of one job never overlap.",
    start: { layers, resolver in
      guard let name = layers.name, let every = layers.value(every), let target = layers.value(`do`),
        let to = resolver.errand(target, whatFor: "a job")
      else { return nil }
      return Job(
        name: name, every: every, to: to, call: Call(place: name.place, to: to.map { .service($0.service) }))
    },
    [
      .optional(MessageQueueKeys.owner, \.owner),
      .value(every, \.every),
      .value(zone, \.zone),
      .custom(`do`.key, explain: { job, design in [.leaf(JobKeys.do, job.to.map { $0.target(design) })] }),
      .value(missed, \.missed),
      .value(timeout, \.timeout),
      .custom(
        retry,
        read: { layers, resolver, job in
          let own = layers.section(retry, MessageRetryKeys.part.section)
          if own.isEmpty { return }
          let first = job.retry.attempts
          MessageRetryKeys.part.read(own, &resolver, into: &job.retry)
          if !job.retry.attempts.isWritten { job.retry.attempts = first }
        },
        explain: { job, design in [.map(retry, MessageRetryKeys.part.explain(job.retry, design))] }),
    ])
}

extension Resolver {
  mutating func job(_ entry: Entry, owner: Value<String>?) -> Job? {
    let layers = Layers([Fields(entry.node, JobKeys.part.section)], name: entry.name)
    guard var job = JobKeys.part.read(layers, &self) else { return nil }
    job.owner = self.owner(job.owner, of: owner)
    checkWaits(of: job.retry)
    checkZone(of: job)
    job.call = delivery(of: job.to, timeout: job.timeout, place: entry.name.place)
    return job
  }
}

extension Resolver {
  /// A zone says when it is three o'clock, and nothing of a length.
  private mutating func checkZone(of job: Job) {
    guard job.zone.value != .utc, job.every.value.schedule.isLength else { return }
    let text = job.every.value.text
    mistake(
      "conflict",
      "'zone' says nothing of 'every: \(text)': a length has no time of day, its runs are the same in every zone",
      at: job.zone, mend: "leave out 'zone', or say at which times:   every: \"0 3 * * *\"")
  }
}

extension ScalarType where T == JobTime {
  /// `15m`, `0 3 * * *`, `@daily`.
  static var jobTime: ScalarType {
    ScalarType(
      words: "a length of time (15m), five fields of cron (0 3 * * *) or @daily", example: "\"0 3 * * *\"",
      schema: pattern("^[^ ].*$"),
      read: { text in
        do throws(CronSchedule.Mistake) {
          return .value(JobTime(text: text, schedule: try CronSchedule(text)))
        } catch {
          return .wrong(.init(error.message, mend: error.mend.map { $0.contains(" ") ? "\"\($0)\"" : $0 }))
        }
      },
      write: { time in
        let isPlain = time.text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
        return isPlain ? time.text : JSONValue.quoted(time.text)
      })
  }
}
