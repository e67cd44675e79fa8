// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns

/// A second attempt beside the first, as the proxy keeps it; it holds a place on its instance as long as it is here.
final class HedgedAttempt {
  let instance: UInt16
  /// Nil only while it is made.
  var upstream: UpstreamConnection?

  init(instance: UInt16) { self.instance = instance }
}

/// Two attempts of one call: both connections are this client's until the first head, then one of them is closed.
///
/// The request stands whole in `request`: no hedge is sent before its last byte was there.
extension ClientConnection {
  /// Sends the request a second time, beside the attempt under way.
  func hedge(_ instance: UInt16, _ number: UInt8, now: Instant) -> CallStep? {
    let service = epoch.edgeServices[edge]
    guard epoch.places.acquire(service: service, instance: instance, loop: loop.index) else {
      return epoch.flows.full(call, of: instance, now: now)
    }
    attempts = number
    let hedge = HedgedAttempt(instance: instance)
    self.hedge = hedge
    let place = epoch.place(service, instance)
    if let idle = idleConnection(service, place) {
      hedge.upstream = idle
      idle.client = self
      epoch.flows.connected(call, of: instance, now: now)
      sendHedge(idle, instance, now: now)
      return nil
    }
    guard let address = loop.address(place) else {
      return epoch.flows.failed(call, .connectRefused, of: instance, now: now)
    }
    let made = newConnection(at: place, of: service)
    hedge.upstream = made
    open(made, to: address, of: service)
    armCall()
    return nil
  }

  func connectedHedge(_ upstream: UpstreamConnection) {
    guard let hedge, hedge.upstream === upstream, call != .none else { return upstream.close() }
    let now = loop.now()
    epoch.flows.connected(call, of: hedge.instance, now: now)
    sendHedge(upstream, hedge.instance, now: now)
    armCall()
  }

  private func sendHedge(_ upstream: UpstreamConnection, _ instance: UInt16, now: Instant) {
    writeTail(now: now)
    upstream.expectAnswer()
    upstream.isRequestSent = true
    upstream.outlet.writeThrough(&request)
    upstream.flush()
    // The flush may have found the connection dead, and the step after that may have ended the hedge.
    guard call != .none, hedge?.upstream === upstream || self.upstream === upstream else { return }
    epoch.flows.sent(call, .all, of: instance, now: now)
  }

  func isMine(_ upstream: UpstreamConnection) -> Bool { upstream === self.upstream || upstream === hedge?.upstream }

  @inline(__always)
  func instance(of upstream: UpstreamConnection) -> UInt16 {
    guard let hedge, hedge.upstream === upstream else { return instance }
    return hedge.instance
  }

  /// The first head has come: its connection is *the* connection from here on, the other one is closed.
  func wins(_ upstream: UpstreamConnection, _ step: CallStep, now: Instant) {
    guard step.loser != CallStep.nobody, let hedge else { return }
    if hedge.upstream === upstream {
      self.upstream?.close()
      self.upstream = upstream
      instance = hedge.instance
    } else {
      hedge.upstream?.close()
    }
    self.hedge = nil
    epoch.placeFreed(edge: edge, instance: step.loser, now: now)
  }

  /// Ends what a step says is over, as far as it is the hedge; the rest is the business of the attempt.
  func detachHedged(_ step: CallStep, now: Instant) {
    guard let hedge else { return }
    if step.freed == hedge.instance {
      // The hedge is over, or it is now the attempt and both are: then the other one is the loser.
      let connection = hedge.upstream
      let other = upstream
      hedge.upstream = other
      upstream = connection
      self.hedge = HedgedAttempt(instance: instance)
      self.hedge?.upstream = other
      instance = step.freed
    }
    if step.loser != CallStep.nobody {
      self.hedge?.upstream?.close()
      self.hedge = nil
    }
  }

  /// The attempt is over and the second one goes on in its stead.
  func takeOverHedge() {
    guard let hedge else { return }
    upstream = hedge.upstream
    instance = hedge.instance
    holdsPlace = true
    self.hedge = nil
  }
}
