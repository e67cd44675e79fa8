// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// Follows a chunked body (RFC 9112 §7.1) through buffers of any cut, and checks it: what it passes may go on as it is.
///
/// Extensions are passed on when they are short and free of controls; all of them together, and the sizes' own lines, may
/// not exceed 16 bytes a chunk plus two bytes a byte of data by more than 16 KiB (the rule of Go's net/http, made after
/// CVE-2023-39326: one-byte chunks with long extensions). Trailers are checked as fields are; those that we decide by in a
/// head (framing, forwarding, `Weir-…`) are refused, for servers that merge trailers into the head would take them.
///
/// ## Invariants
/// 1. The events do not depend on how the bytes were split, but that data comes in as many runs as buffers hold it.
/// 2. After `end` or `refused` nothing more is taken.
public struct ChunkedScanner: Sendable, Equatable, BitwiseCopyable {
  public enum Event: Sendable, Equatable {
    /// Data in these bytes of the buffer.
    case data(Range<Int>)
    /// All bytes are taken.
    case needMore
    /// The body ended before this byte of the buffer.
    case end(at: Int)
    case refused(HeadError)
  }

  /// Bytes of an extension, its `;` included.
  public static let extensionBytesMax = 256
  /// Bytes of all trailers.
  public static let trailerBytesMax = 8 << 10
  static let trailersMax = 32
  static let excessMax = 16 << 10

  private enum State: UInt8, Sendable {
    case sizeFirst, size, sizeSpace, extended, sizeLF, data, dataCR, dataLF
    case trailerStart, trailerName, trailerValue, trailerLF, endLF, ended
  }

  private var state = State.sizeFirst
  private var digits: UInt8 = 0
  private var remaining: Int64 = 0
  private var line = 0
  private var excess = 0
  /// Bytes behind the last chunk's line so far, the empty line included.
  public private(set) var trailerBytes = 0
  private var trailers = 0
  private var nameLength = 0
  private var name = FixedArray<24, UInt8>(repeating: 0)
  /// Bytes of data so far, announced ones of the present chunk included: a limit is known to be broken before its data is.
  public private(set) var announced: Int64 = 0

  public init() {}

  /// Ready for another body.
  public mutating func clear() {
    state = .sizeFirst
    digits = 0
    remaining = 0
    line = 0
    excess = 0
    trailerBytes = 0
    trailers = 0
    nameLength = 0
    announced = 0
  }

  public var hasEnded: Bool { state == .ended }

  /// What comes next from `at` on; moves `at` past what was taken.
  public mutating func next(_ bytes: Span<UInt8>, from at: inout Int) -> Event {
    let count = bytes.count
    while at < count {
      if state == .data {
        let take = Int(min(remaining, Int64(count - at)))
        let run = at..<(at + take)
        at += take
        remaining -= Int64(take)
        if remaining == 0 { state = .dataCR }
        return .data(run)
      }
      let byte = bytes[at]
      at += 1
      if let error = step(byte) { return .refused(error) }
      if state == .ended { return .end(at: at) }
    }
    return state == .ended ? .end(at: at) : .needMore
  }

  /// Takes all of `bytes` from `at` on, up to the body's end: for those who pass it on as it is.
  ///
  /// Moves `at`.
  public mutating func skip(_ bytes: Span<UInt8>, from at: inout Int) -> Event {
    while true {
      let event = next(bytes, from: &at)
      if case .data = event { continue }
      return event
    }
  }

  private mutating func step(_ byte: UInt8) -> HeadError? {
    switch state {
    case .sizeFirst, .size:
      let digit = Grammar.hex(byte)
      if digit != 255 {
        // Fifteen digits stay below 2⁶⁰; no body is longer.
        if digits == 15 { return .chunkSize }
        digits += 1
        remaining = remaining << 4 | Int64(digit)
        line += 1
        state = .size
        return nil
      }
      if state == .sizeFirst { return .chunkSize }
      return afterSize(byte)
    case .sizeSpace, .extended:
      line += 1
      if line > ChunkedScanner.extensionBytesMax { return .chunkExtension }
      if byte == 0x0d {
        state = .sizeLF
        return nil
      }
      if state == .sizeSpace {
        if byte == 0x3b {
          state = .extended
          return nil
        }
        return byte == 0x20 || byte == 0x09 ? nil : .chunkSize
      }
      return isText(byte) ? nil : .chunkExtension
    case .sizeLF:
      if byte != 0x0a { return .lineEnding }
      return sized()
    case .dataCR:
      if byte != 0x0d { return .chunkEnd }
      state = .dataLF
      return nil
    case .dataLF:
      if byte != 0x0a { return .chunkEnd }
      state = .sizeFirst
      digits = 0
      remaining = 0
      line = 0
      return nil
    case .trailerStart, .trailerName, .trailerValue, .trailerLF, .endLF: return trailerStep(byte)
    case .data, .ended: return nil
    }
  }

  private mutating func afterSize(_ byte: UInt8) -> HeadError? {
    line += 1
    switch byte {
    case 0x0d: state = .sizeLF
    case 0x3b: state = .extended
    // "Bad" white space before `;` (RFC 9112 §7.1.1): some senders pad the size.
    case 0x20, 0x09: state = .sizeSpace
    default: return byte == 0x0a ? .lineEnding : .chunkSize
    }
    return nil
  }

  private mutating func sized() -> HeadError? {
    if remaining == 0 {
      state = .trailerStart
      return nil
    }
    excess = max(0, excess + line + 4 - 16 - Int(min(remaining, 1 << 20)) * 2)
    if excess > ChunkedScanner.excessMax { return .chunkExtension }
    let (sum, overflow) = announced.addingReportingOverflow(remaining)
    if overflow { return .chunkSize }
    announced = sum
    state = .data
    return nil
  }

  private func isText(_ byte: UInt8) -> Bool { (byte >= 0x20 && byte != 0x7f) || byte == 0x09 }

  private mutating func trailerStep(_ byte: UInt8) -> HeadError? {
    trailerBytes += 1
    if trailerBytes > ChunkedScanner.trailerBytesMax { return .trailer }
    switch state {
    case .trailerStart where byte == 0x0d: state = .endLF
    case .trailerStart, .trailerName:
      if state == .trailerStart {
        trailers += 1
        if trailers > ChunkedScanner.trailersMax { return .trailer }
        nameLength = 0
        state = .trailerName
      }
      if byte == 0x3a {
        if nameLength == 0 || isReserved() { return .trailer }
        state = .trailerValue
        return nil
      }
      if !Grammar.isToken(byte) { return .trailer }
      // `_` as `-`: see ``FieldName/isDisguised(_:_:_:)``.
      if nameLength < 24 { name[nameLength] = byte == 0x5f ? 0x2d : byte }
      nameLength += 1
    case .trailerValue:
      if byte == 0x0d { state = .trailerLF } else if !isText(byte) { return .trailer }
    case .trailerLF:
      if byte != 0x0a { return .trailer }
      state = .trailerStart
    case .endLF:
      if byte != 0x0a { return .trailer }
      state = .ended
    default: break
    }
    return nil
  }

  private func isReserved() -> Bool {
    let length = min(nameLength, 24)
    var copy = InlineArray<24, UInt8>(repeating: 0)
    for i in 0..<length { copy[i] = name[i] }
    return TrailerRule.isRefused(copy.span.extracting(0..<length))
  }
}
