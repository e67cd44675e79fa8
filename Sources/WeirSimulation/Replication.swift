// SPDX-License-Identifier: Apache-2.0
import WeirBase
package import WeirFlows

/// One run of a scene: what was seen of it, batch by batch.
package struct Replication: Sendable {
  package var observations: [Observation]
  /// Rare events in their order, their time counted from the story's beginning.
  package var events: [Event]
  package var eventsLost: Int
  /// What is wrong with the run itself (Little's law, places), or nil: our defect.
  package var violation: String?
  /// Events that were worked off.
  package var steps: UInt64

  /// Runs a scene for `warmUp`, then for `length`, in `batches` observations of equal length.
  package static func run(
    _ scene: Scene, seed: UInt64, warmUp: Int64, length: Int64, batches: Int = 1, eventsLimit: Int = 0
  ) -> Replication {
    var world = World(scene, seed: seed, storyBegins: warmUp, ends: warmUp + length, eventsLimit: eventsLimit)
    world.run(until: Instant(nanoseconds: warmUp))
    world.forgetEvents()
    world.forgetPeaks()
    var last = world.snapshot()
    var observations: [Observation] = []
    for batch in 1...max(1, batches) {
      let end = warmUp + Int64(Double(length) * Double(batch) / Double(max(1, batches)))
      world.run(until: Instant(nanoseconds: end))
      let next = world.snapshot()
      observations.append(Observation(next, since: last))
      last = next
      world.forgetPeaks()
    }
    world.collect()
    let events = world.events.map { event in
      var event = event
      event.at = Instant(nanoseconds: max(0, event.at.nanoseconds - warmUp))
      if event.until != .zero { event.until = Instant(nanoseconds: max(0, event.until.nanoseconds - warmUp)) }
      return event
    }
    return Replication(
      observations: observations, events: events, eventsLost: world.eventsLost, violation: world.violation(),
      steps: world.steps)
  }

  /// The seed of one replication.
  package static func seed(_ seed: UInt64, _ replication: Int) -> UInt64 {
    Draws.mixed(Draws.mixed(seed) &+ UInt64(replication))
  }

  /// How long a scene takes to forget that it was empty: MSER on the means of 200 spans of a run of `length`.
  package static func warmUp(_ scene: Scene, seed: UInt64, length: Int64) -> Int64 {
    let spans = 200
    var scene = scene
    scene.faults = []
    var world = World(scene, seed: seed, ends: length, eventsLimit: 0)
    var means: [Double] = []
    var last = world.responses()
    for span in 1...spans {
      world.run(until: Instant(nanoseconds: Int64(Double(length) * Double(span) / Double(spans))))
      let next = world.responses()
      // A span without an answer says nothing: it repeats what was known before it.
      let count = Double(next.count - last.count)
      means.append(count > 0 ? (next.sum - last.sum) / count : means.last ?? 0)
      last = next
    }
    return Int64(Double(length) * Double(WarmUp.cut(means)) / Double(spans))
  }
}
