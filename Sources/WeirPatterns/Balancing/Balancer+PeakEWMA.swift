// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// Peak EWMA: cost = latency × (in flight + 1) ÷ weight; the latency jumps up with a peak and comes down slowly.
///
/// Source: Finagle's `PeakEwma.scala` (Twitter, since 2014), linkerd, Envoy's contrib `peak_ewma`. The latency of an
/// instance that is not used fades towards 0, so one that was slow once is tried again.
///
/// **Unknown latency.** An instance that has not answered yet gets one request as soon as it is looked at. While that
/// is out it is taken to be like the others: the mean of recent answers over all instances. Finagle lets one pass and
/// then avoids the instance until the answer; tower and linkerd assume a fixed 1 s or 30 ms. Assuming the mean from the
/// first request on was tried: on an idle system the latencies of the others have faded below it, and the newcomer
/// never gets its first request. Before any answer at all the rule is least request.
extension Balancer {
  func peakCost(_ index: Int, now: Instant) -> Double {
    let instance = instances[index]
    let latency: Double
    if instance.known {
      latency = instance.latency.faded(halfLife: halfLife, now: now)
    } else {
      latency = instance.inFlight == 0 ? 0 : typical.value
    }
    // At least 1 ns: of two idle ones that have faded to nothing the one with fewer in flight is still cheaper.
    return max(1, latency) * Double(instance.inFlight + 1) * instance.perWeight
  }

  mutating func learn(_ index: Int, _ latency: Double, now: Instant) {
    if instances[index].known {
      instances[index].latency.addPeak(latency, halfLife: halfLife, now: now)
    } else {
      instances[index].latency.jump(to: latency, now: now)
    }
    instances[index].known = true
  }

  /// The latency that `failuresInRow` failures count for: 5, 25, 125 … typical ones, at most the penalty.
  func penalty(_ failuresInRow: UInt8) -> Double {
    // Nothing has ever answered: nothing says how long an answer takes.
    guard typicalKnown else { return failurePenalty }
    var latency = max(1, typical.value)
    var left = failuresInRow
    // From 1 ns to 5 s that is 14 rounds at a factor of 5.
    while left > 0, latency < failurePenalty, failureFactor > 1 {
      latency *= failureFactor
      left -= 1
    }
    return min(latency, failurePenalty)
  }
}
