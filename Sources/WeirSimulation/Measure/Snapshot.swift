// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows

/// All counters of a world at one moment; the difference of two is an observation.
struct Snapshot: Sendable {
  var at: Int64
  var ledger: Ledger
  /// By edge.
  var waits: [Tally]
  var queueAreas: [Int64]
  /// By component: ∫ busy dt, ∫ queued dt, Σ waits and how many waited, within instances.
  var busy: [Int64]
  var areas: [Int64]
  var queued: [Int64]
  var queuedCount: [Int64]
  /// By stream.
  var sent: [UInt64]
  /// By queue.
  var queues: [QueueSnapshot] = []
  var sagas: [SagaSnapshot] = []
}

/// The counters of one saga.
struct SagaSnapshot: Sendable {
  var counts: SagaCounts
  var times: Tally
  /// ∫ of how many are under way.
  var area: Int64
}

/// The counters of one queue of messages.
struct QueueSnapshot: Sendable {
  var counts: QueueCounts
  var waits: Tally
  var times: Tally
  /// ∫ of how many are in it, and of how many are in flight.
  var area: Int64
  var flightArea: Int64
  var lost: Int64
  var peaks: QueuePeaks
}

extension World {
  func snapshot() -> Snapshot {
    let at = now.nanoseconds
    var waits = loops[0].waits
    var queueAreas = loops[0].gauges.map { $0.area(at: at) }
    for l in loops.indices.dropFirst() {
      for e in waits.indices {
        waits[e].merge(loops[l].waits[e])
        queueAreas[e] += loops[l].gauges[e].area(at: at)
      }
    }
    let none = [Int64](repeating: 0, count: components.count)
    var snapshot = Snapshot(
      at: at, ledger: ledger(), waits: waits, queueAreas: queueAreas, busy: none, areas: none, queued: none,
      queuedCount: none, sent: streams.map(\.sent))
    for i in instances.indices {
      let instance = instances[i]
      let c = Int(instance.component)
      snapshot.busy[c] += instance.busyArea + Int64(instance.busy) * (at - instance.busySince)
      snapshot.areas[c] += instance.queue.area(at: at)
      snapshot.queued[c] += instance.queue.waits
      snapshot.queuedCount[c] += instance.queue.left
    }
    for q in queues.indices {
      snapshot.queues.append(
        QueueSnapshot(
          counts: queues[q].counts, waits: queues[q].waits, times: queues[q].times, area: queues[q].inside.area(at: at),
          flightArea: queues[q].inFlight.area(at: at), lost: queues[q].lost, peaks: queues[q].peaks))
    }
    for saga in sagas {
      snapshot.sagas.append(SagaSnapshot(counts: saga.counts, times: saga.times, area: saga.underWay.area(at: at)))
    }
    return snapshot
  }

  /// The sum of the times of all requests so far and their number: what the warm-up rule looks at.
  func responses() -> (sum: Double, count: UInt64) {
    var sum = 0.0
    var count: UInt64 = 0
    for l in loops.indices {
      for tally in loops[l].flows.state.ledger.routeLatencies {
        sum += tally.sum
        count += tally.count
      }
    }
    for q in queues.indices {
      sum += queues[q].times.sum
      count += queues[q].times.count
    }
    for saga in sagas {
      sum += saga.times.sum
      count += saga.times.count
    }
    return (sum, count)
  }
}

/// Lengths of time that were counted between two moments.
package struct Sample: Sendable, Equatable {
  /// By bucket of `Tally`.
  package var buckets: [UInt32]
  package var count: Double
  /// In nanoseconds.
  package var sum: Double
  /// The longest since the beginning of the run.
  package var maximum: Int64

  init(_ new: Tally, since old: Tally) {
    buckets = new.buckets.indices.map { UInt32(truncatingIfNeeded: new.buckets[$0] &- old.buckets[$0]) }
    count = Double(new.count - old.count)
    sum = new.sum - old.sum
    maximum = new.maximum
  }

  package mutating func add(_ other: Sample) {
    for i in buckets.indices { buckets[i] &+= other.buckets[i] }
    count += other.count
    sum += other.sum
    maximum = max(maximum, other.maximum)
  }
}

/// What happened along one route or edge in an observation.
package struct FlowCounts: Sendable, Equatable {
  package var count = 0.0
  package var failed = 0.0
  package var fallbacks = 0.0
  package var attempts = 0.0
  package var calls = 0.0
  /// By reason.
  package var reasons: [Double] = []
}

/// What happened to the messages of one queue in an observation.
package struct MessageCounts: Sendable {
  package var accepted: Double
  /// Turned away, for the queue was full.
  package var refused: Double
  package var leased: Double
  package var done: Double
  /// Dead letters: after too many attempts, too old, refused for good.
  package var dead: [Double]
  /// Of all that were accepted, those that nobody will ever work on.
  package var lost: Double
  /// Until the first delivery began, and until the one that succeeded was over.
  package var waits: Sample
  package var times: Sample
  /// Mean number that are in it, and in flight.
  package var depth: Double
  package var inFlight: Double
  /// The most that waited, how long the one that waited longest had to, and from the peak to the end of that backlog, in
  /// nanoseconds; −1: it did not end.
  package var peak: Double
  package var oldest: Double
  package var drain: Double
  /// Worked on after a later one of their key, and worked on twice.
  package var overtaken: Double
  package var twice: Double
  /// Put aside until their turn, left out as known, not waited for any longer.
  package var kept: Double
  package var known: Double
  package var skipped: Double

  init(_ new: QueueSnapshot, since old: QueueSnapshot, span: Double) {
    accepted = Double(new.counts.accepted - old.counts.accepted)
    refused = Double(new.counts.refused - old.counts.refused)
    leased = Double(new.counts.leased - old.counts.leased)
    done = Double(new.counts.done - old.counts.done)
    dead = new.counts.dead.indices.map { Double(new.counts.dead[$0] - old.counts.dead[$0]) }
    lost = Double(new.lost - old.lost)
    waits = Sample(new.waits, since: old.waits)
    times = Sample(new.times, since: old.times)
    depth = Double(new.area - old.area) / span
    inFlight = Double(new.flightArea - old.flightArea) / span
    peak = Double(new.peaks.most)
    oldest = Double(new.peaks.oldest)
    drain = Double(new.peaks.drain)
    overtaken = Double(new.counts.overtaken - old.counts.overtaken)
    twice = Double(new.counts.twice - old.counts.twice)
    kept = Double(new.counts.kept - old.counts.kept)
    known = Double(new.counts.known - old.counts.known)
    skipped = Double(new.counts.skipped - old.counts.skipped)
  }
}

/// What happened to the sagas of one kind in an observation.
package struct SagaSums: Sendable {
  package var begun: Double
  package var finished: Double
  package var compensated: Double
  package var leftDone: Double
  package var stuck: Double
  package var calls: Double
  /// From the beginning to the end.
  package var times: Sample
  /// Mean number that are under way.
  package var underWay: Double

  /// Neither done nor undone for good.
  package var halfDone: Double { stuck + leftDone }

  init(_ new: SagaSnapshot, since old: SagaSnapshot, span: Double) {
    begun = Double(new.counts.begun - old.counts.begun)
    finished = Double(new.counts.finished - old.counts.finished)
    compensated = Double(new.counts.compensated - old.counts.compensated)
    leftDone = Double(new.counts.leftDone - old.counts.leftDone)
    stuck = Double(new.counts.stuck - old.counts.stuck)
    calls = Double(new.counts.calls - old.counts.calls)
    times = Sample(new.times, since: old.times)
    underWay = Double(new.area - old.area) / span
  }
}

/// What happened between two moments: one batch of a replication.
package struct Observation: Sendable {
  /// In seconds.
  package var length: Double
  package var routes: [FlowCounts]
  package var routeTimes: [Sample]
  package var edges: [FlowCounts]
  package var edgeTimes: [Sample]
  package var waits: [Sample]
  /// By edge: mean number that waited for a place.
  package var queueLengths: [Double]
  /// By component.
  package var busy: [Double]
  package var innerLengths: [Double]
  package var innerWaits: [Double]
  package var innerWaited: [Double]
  /// By stream.
  package var sent: [Double]
  package var messages: [MessageCounts]
  package var sagas: [SagaSums]

  init(_ new: Snapshot, since old: Snapshot) {
    let span = Double(new.at - old.at)
    length = span / 1e9
    // The last route of the ledger is for requests without one; a simulated request always has one.
    routes = new.ledger.routes.indices.dropLast().map { r in
      let a = new.ledger.routes[r]
      let b = old.ledger.routes[r]
      var counts = FlowCounts()
      counts.count = Double(a.requests - b.requests)
      counts.failed = Double(a.statuses[4] - b.statuses[4])
      // An answer that was cut has a status and did not arrive.
      counts.reasons = Reason.allCases.map { Double(new.ledger.routeReason(r, $0) - old.ledger.routeReason(r, $0)) }
      return counts
    }
    routeTimes = routes.indices.map { Sample(new.ledger.routeLatencies[$0], since: old.ledger.routeLatencies[$0]) }
    edges = new.ledger.edges.indices.map { e in
      let a = new.ledger.edges[e]
      let b = old.ledger.edges[e]
      var counts = FlowCounts()
      counts.count = Double(a.ended - b.ended)
      counts.calls = Double(a.calls - b.calls)
      counts.failed = Double(a.failed + a.refused - b.failed - b.refused)
      counts.fallbacks = Double(a.fallbacks - b.fallbacks)
      counts.attempts = Double(a.attempts - b.attempts)
      counts.reasons = Reason.allCases.map { Double(new.ledger.edgeReason(e, $0) - old.ledger.edgeReason(e, $0)) }
      return counts
    }
    edgeTimes = edges.indices.map { Sample(new.ledger.edgeLatencies[$0], since: old.ledger.edgeLatencies[$0]) }
    waits = edges.indices.map { Sample(new.waits[$0], since: old.waits[$0]) }
    queueLengths = edges.indices.map { Double(new.queueAreas[$0] - old.queueAreas[$0]) / span }
    busy = new.busy.indices.map { Double(new.busy[$0] - old.busy[$0]) / span }
    innerLengths = new.areas.indices.map { Double(new.areas[$0] - old.areas[$0]) / span }
    innerWaits = new.queued.indices.map { Double(new.queued[$0] - old.queued[$0]) }
    innerWaited = new.queuedCount.indices.map { Double(new.queuedCount[$0] - old.queuedCount[$0]) }
    sent = new.sent.indices.map { Double(new.sent[$0] - old.sent[$0]) }
    messages = new.queues.indices.map { MessageCounts(new.queues[$0], since: old.queues[$0], span: span) }
    sagas = new.sagas.indices.map { SagaSums(new.sagas[$0], since: old.sagas[$0], span: span) }
  }
}
