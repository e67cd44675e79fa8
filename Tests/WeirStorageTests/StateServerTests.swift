// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

@Suite struct StateServerTests {
  private func start(_ scratch: Scratch, _ settings: SQLiteStore.Settings = .init()) throws -> RunningState {
    let path = StateProcess.databasePath(scratch.path)
    return try RunningState({ try SQLiteStore(path: path, settings) }, scratch.path)
  }

  @Test("executed, waited for, replayed, mismatched, released, executed again")
  func life() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let peer = try StatePeer(scratch.path)
    #expect(try peer.ask(claim(1, by: 1)) == .execute)
    // Its own owner again: the answer was lost on the way.
    #expect(try peer.ask(claim(1, by: 1)) == .execute)
    #expect(try peer.ask(claim(1, by: 2, print: 8)) == .mismatch)
    #expect(isBusy(try peer.ask(claim(1, by: 2))))
    #expect(try peer.ask(.complete(key: digest(1), owner: owner(2), answer: nil)) == .lost)
    #expect(try peer.ask(.complete(key: digest(1), owner: owner(1), answer: answer("done"))) == .stored)
    #expect(try peer.ask(.complete(key: digest(1), owner: owner(1), answer: answer("done"))) == .stored)
    #expect(try peer.ask(claim(1, by: 3)) == .replay(answer("done")))
    #expect(try peer.ask(claim(1, by: 3, print: 8)) == .mismatch)
    #expect(try peer.ask(claim(2, by: 4)) == .execute)
    #expect(try peer.ask(.release(key: digest(2), owner: owner(4))) == .released)
    #expect(try peer.ask(claim(2, by: 5)) == .execute)
    #expect(try peer.ask(.complete(key: digest(2), owner: owner(5), answer: nil)) == .stored)
    #expect(try peer.ask(claim(2, by: 6)) == .notKept)
    try state.end()
  }

  @Test("who waits is answered by the end that comes: completed, released, or a lease that is over")
  func waiting() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let worker = try StatePeer(scratch.path)
    let others = try (0..<3).map { _ in try StatePeer(scratch.path) }
    #expect(try worker.ask(claim(1, by: 1)) == .execute)
    for (i, other) in others.enumerated() { try other.send(claim(1, by: 10 + UInt64(i), wait: 60_000)) }
    // An answer to another request of each says that the claims have been read.
    for other in others {
      try other.send(claim(77, by: 1, print: 1))
      #expect(try other.next().reply == .execute)
    }
    #expect(try worker.ask(.complete(key: digest(1), owner: owner(1), answer: answer("one"))) == .stored)
    for other in others { #expect(try other.next().reply == .replay(answer("one"), waited: true)) }

    #expect(try worker.ask(claim(2, by: 1)) == .execute)
    try others[0].send(claim(2, by: 10, wait: 60_000))
    #expect(try others[0].ask(claim(77, by: 1, print: 1)) == .execute)
    #expect(try worker.ask(.release(key: digest(2), owner: owner(1))) == .released)
    #expect(try others[0].next().reply == .execute)

    #expect(try worker.ask(claim(3, by: 1, lease: 300)) == .execute)
    #expect(try others[1].ask(claim(3, by: 11, wait: 60_000)) == .execute)
    // Patience ends before the lease.
    #expect(try worker.ask(claim(4, by: 1)) == .execute)
    #expect(isBusy(try others[2].ask(claim(4, by: 12, wait: 200))))
    try state.end()
  }

  /// AM-5 at the store: one of a hundred executes, whoever else asks gets its answer.
  @Test("of a hundred claims at the same time one is granted")
  func hundred() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let granted = Mutex<[UInt64]>([])
    let replayed = Mutex(0)
    let left = Mutex(100)
    for i in 0..<100 as Range<UInt64> {
      try SystemThread.start {
        do {
          let peer = try StatePeer(scratch.path)
          let reply = try peer.ask(claim(1, by: i, wait: 60_000))
          if reply == .execute {
            granted.withLock { $0.append(i) }
            let stored = try peer.ask(.complete(key: digest(1), owner: owner(i), answer: answer("one")))
            #expect(stored == .stored)
          } else {
            #expect([.replay(answer("one")), .replay(answer("one"), waited: true)].contains(reply))
            replayed.withLock { $0 += 1 }
          }
        } catch { Issue.record("\(error)") }
        left.withLock { $0 -= 1 }
      }
    }
    let limit = SystemClock.now() + .seconds(60)
    while left.withLock({ $0 }) > 0 && SystemClock.now() < limit { SystemThread.pause(nanoseconds: 5_000_000) }
    #expect(granted.withLock { $0.count } == 1)
    #expect(replayed.withLock { $0 } == 99)
    try state.end()
  }

  @Test("what cannot be understood ends its connection, and no other")
  func nonsense() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let good = try StatePeer(scratch.path)
    let bad = try Connecting.unix(path: StateProcess.socketPath(scratch.path))
    try bad.writeAll([0, 0, 0, 9, 99, 0, 0, 0, 0, 0, 0, 0, 0])
    #expect(try bad.read(upTo: 100).isEmpty)
    // Without a greeting nothing is done.
    let rude = try StatePeer(scratch.path, greets: false)
    #expect(try rude.ask(claim(1, by: 1)) == .failed(.version))
    #expect(try good.ask(claim(1, by: 2)) == .execute)
    try state.end()
  }

  @Test("a full database refuses new executions and still replays")
  func full() throws {
    let scratch = try Scratch()
    var settings = SQLiteStore.Settings()
    settings.reserveBytes = .max
    do {
      let state = try start(scratch)
      let peer = try StatePeer(scratch.path)
      #expect(try peer.ask(claim(1, by: 1)) == .execute)
      #expect(try peer.ask(.complete(key: digest(1), owner: owner(1), answer: answer("one"))) == .stored)
      #expect(try peer.ask(claim(2, by: 1)) == .execute)
      try state.end()
    }
    // Below the reserve: what has begun is finished, nothing is begun.
    let state = try start(scratch, settings)
    let peer = try StatePeer(scratch.path)
    #expect(try peer.ask(claim(3, by: 1)) == .failed(.full))
    #expect(try peer.ask(claim(1, by: 2)) == .replay(answer("one")))
    #expect(try peer.ask(.complete(key: digest(2), owner: owner(1), answer: answer("two"))) == .stored)
    try state.end()
  }
}
