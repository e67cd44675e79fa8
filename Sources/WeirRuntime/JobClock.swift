// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirWire

/// Puts a message into a job's queue when the job is due; what becomes of it is the queue's business.
///
/// The message's id is made of the job and the moment, so the same run is taken once, whoever asks for it how often: planes that
/// come after one another, an elder beside its heir, a repeat after a lost answer. What ran last is asked of the queue, not
/// kept here: when it was declared first, and whether it knows the message of the last moment that is over.
final class JobClock: Sendable {
  private struct Ticking {
    var job: Plan.Job
    var queue: String
    /// The moment that was handed out last, or passed over; nil until the state process has said so.
    var last: WallTime?
    /// Nothing is to be done before.
    var until = WallTime(milliseconds: 0)
  }

  private struct Shared {
    var server: ProxyServer?
    var jobs: [Ticking] = []
    var isBusy = false
    /// A plan has come while it was busy.
    var generation = 0
  }

  private static let patience: Int64 = 5_000_000_000

  private let shared = Mutex(Shared())
  private let say: @Sendable (String) -> Void

  /// `say` gets sentences for the log.
  init(say: @escaping @Sendable (String) -> Void) { self.say = say }

  /// A plan is in force: jobs that stay keep their moment.
  func enter(_ plan: Plan, _ server: ProxyServer) {
    shared.withLock { shared in
      let before = shared.jobs
      shared.server = server
      shared.generation += 1
      shared.jobs = plan.jobs.map { job in
        let known = before.first {
          $0.job.name == job.name && $0.job.schedule == job.schedule && $0.job.zone == job.zone
        }
        return Ticking(job: job, queue: plan.queues[job.queue].name, last: known?.last)
      }
    }
  }

  /// Ten times a second; whatever has to be asked is asked beside.
  func tick() {
    let wall = SystemClock.wall()
    let begins = shared.withLock { shared in
      if shared.isBusy || !shared.jobs.contains(where: { $0.until <= wall }) { return false }
      shared.isBusy = true
      return true
    }
    guard begins else { return }
    Task {
      let (jobs, server, generation) = shared.withLock { ($0.jobs, $0.server, $0.generation) }
      var looked = jobs
      if let server {
        for i in looked.indices where looked[i].until <= wall { await look(&looked[i], server) }
      }
      shared.withLock { shared in
        shared.isBusy = false
        if shared.generation == generation { shared.jobs = looked }
      }
    }
  }

  /// Whether it is due, and its message if it is.
  private func look(_ ticking: inout Ticking, _ server: ProxyServer) async {
    let now = SystemClock.wall()
    // Asked again in a second, if nobody says anything.
    ticking.until = WallTime(milliseconds: now.milliseconds + 1000)
    if ticking.last == nil { ticking.last = await lastRun(of: ticking, now, server) }
    guard let last = ticking.last else { return }
    let job = ticking.job
    switch job.schedule.decide(after: last, now: now, in: job.zone, job.settings) {
    case .never: ticking.until = WallTime(milliseconds: .max)
    case .wait(let until): ticking.until = until
    case .skip(let through):
      say("job \(job.name): the runs until \(through.rfc3339) were missed, and are not caught up")
      ticking.last = through
      ticking.until = now
    case .run(let at, let isLate):
      switch await enqueue(ticking, at, server) {
      case .enqueued(let messages):
        if isLate && messages.first?.isDuplicate == false {
          say("job \(job.name): the run of \(at.rfc3339) was missed, and is caught up")
        }
      case .queueFull: say("job \(job.name): the run of \(at.rfc3339) is left out: the ones before it are not over")
      // Nothing was taken: the same moment is asked for again.
      default: return
      }
      ticking.last = at
      ticking.until = now
    }
  }

  private func id(_ ticking: Ticking, _ at: WallTime) -> [UInt8] { Array("\(ticking.job.name)@\(at.rfc3339)".utf8) }

  /// The moment that was handed out last; of a job that is new, when it was declared.
  private func lastRun(of ticking: Ticking, _ now: WallTime, _ server: ProxyServer) async -> WallTime? {
    guard
      case .counts(let counts) = await server.ask(.look(queue: ticking.queue, .counts), within: JobClock.patience)
    else { return nil }
    let declared = WallTime(milliseconds: counts.declaredAt)
    let job = ticking.job
    guard case .run(let due, _) = job.schedule.decide(after: declared, now: now, in: job.zone) else { return declared }
    let known = await server.ask(.look(queue: ticking.queue, .message(id: id(ticking, due))), within: JobClock.patience)
    guard case .message(let view) = known else { return nil }
    return view == nil ? declared : due
  }

  private func enqueue(_ ticking: Ticking, _ at: WallTime, _ server: ProxyServer) async -> StateReply? {
    let message = NewMessage(
      id: id(ticking, at), fields: Array("Content-Type: application/json\r\n".utf8),
      body: Array("{\"job\":\"\(ticking.job.name)\",\"due\":\"\(at.rfc3339)\"}".utf8))
    return await server.ask(.enqueue(queue: ticking.queue, [message]), within: JobClock.patience)
  }

  /// For how long a job's queue knows a run: until the next one is due, and an hour.
  static func memory(of job: Plan.Job, now: WallTime) -> Duration {
    .milliseconds((job.schedule.longestWait(from: now, in: job.zone) ?? 0) + 3_600_000)
  }
}
