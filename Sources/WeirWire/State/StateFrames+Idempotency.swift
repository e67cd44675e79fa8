// SPDX-License-Identifier: Apache-2.0

/// Kinds 2 to 4 and 129 to 136: what is asked about idempotency keys.
extension StateWriter {
  /// False when the request is of another topic.
  mutating func idempotency(_ request: StateRequest, _ id: UInt64) -> Bool {
    switch request {
    case .claim(let claim):
      begin(2, id)
      digest(claim.key)
      digest(claim.fingerprint)
      owner(claim.owner)
      i64(claim.lease)
      i64(claim.keep)
      i64(claim.wait)
    case .complete(let key, let by, let answer):
      begin(3, id)
      digest(key)
      owner(by)
      flag(answer != nil)
      if let answer { self.answer(answer) }
    case .release(let key, let by):
      begin(4, id)
      digest(key)
      owner(by)
    default: return false
    }
    return true
  }

  mutating func idempotency(_ reply: StateReply, _ id: UInt64) -> Bool {
    switch reply {
    case .execute: begin(129, id)
    case .replay(let answer, let waited):
      begin(130, id)
      flag(waited)
      self.answer(answer)
    case .notKept: begin(131, id)
    case .busy(let milliseconds):
      begin(132, id)
      i64(milliseconds)
    case .mismatch: begin(133, id)
    case .stored: begin(134, id)
    case .lost: begin(135, id)
    case .released: begin(136, id)
    default: return false
    }
    return true
  }

  private mutating func owner(_ owner: StateRequest.Owner) {
    u64(owner.high)
    u64(owner.low)
  }

  private mutating func answer(_ answer: StateRequest.Answer) {
    u16(answer.status)
    run(answer.fields)
    run(answer.body)
  }
}

extension StateReader {
  /// Nil when the kind is of another topic.
  mutating func idempotencyRequest(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest? {
    switch kind {
    case 2:
      return .claim(
        StateRequest.Claim(
          key: try digest(bytes), fingerprint: try digest(bytes), owner: try owner(bytes), lease: try length(bytes),
          keep: try length(bytes), wait: try length(bytes)))
    case 3:
      let key = try digest(bytes)
      let by = try owner(bytes)
      return .complete(key: key, owner: by, answer: try flag(bytes) ? try answer(bytes) : nil)
    case 4: return .release(key: try digest(bytes), owner: try owner(bytes))
    default: return nil
    }
  }

  mutating func idempotencyReply(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateReply? {
    switch kind {
    case 129: return .execute
    case 130:
      let waited = try flag(bytes)
      return .replay(try answer(bytes), waited: waited)
    case 131: return .notKept
    case 132: return .busy(try length(bytes))
    case 133: return .mismatch
    case 134: return .stored
    case 135: return .lost
    case 136: return .released
    default: return nil
    }
  }

  private mutating func owner(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest.Owner {
    StateRequest.Owner(high: try u64(bytes), low: try u64(bytes))
  }

  private mutating func answer(_ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest.Answer {
    let status = try u16(bytes)
    guard (200..<600).contains(status) else { throw .badValue }
    return StateRequest.Answer(
      status: status, fields: try run(bytes, atMost: StateFrames.bytesMax),
      body: try run(bytes, atMost: StateFrames.bytesMax))
  }
}
