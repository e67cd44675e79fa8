// SPDX-License-Identifier: Apache-2.0
private import CWeirCompression

/// Compresses one stream after another, piece by piece.
///
/// Sources: RFC 1952 (gzip), RFC 7932 (brotli), RFC 8878 (zstd, with a window within what RFC 9659 lets browsers expect);
/// the libraries are the system's. Confined to whoever holds it.
///
/// ## Invariants
/// 1. After `encode(…, .block)` the receiver can read all that was given so far.
/// 2. After `encode(…, .end)` the stream is whole; nothing more is encoded before `reset`.
public final class StreamEncoder {
  public enum Coding: UInt8, Sendable, CaseIterable {
    case gzip, brotli, zstd

    /// Where a level more costs more time than it saves bytes (docs/compression.md has the measurement).
    public var level: Int {
      switch self {
      case .gzip: 5
      case .brotli: 4
      case .zstd: 3
      }
    }
  }

  public enum Flush: Sendable {
    /// What comes next may change how this is written: nothing need come out yet.
    case none
    /// All must come out now.
    case block
    case end
  }

  public struct Failed: Error {}

  public let coding: Coding
  private let encoder: OpaquePointer

  /// Nil when there is no memory for it.
  public init?(_ coding: Coding) {
    let number =
      switch coding {
      case .gzip: weir_coding_gzip
      case .brotli: weir_coding_brotli
      case .zstd: weir_coding_zstd
      }
    guard let made = weir_encoder_make(Int32(number), Int32(coding.level)) else { return nil }
    self.coding = coding
    encoder = made
  }

  deinit { weir_encoder_free(encoder) }

  /// Ready for another stream; false when it cannot be used again.
  public func reset() -> Bool { weir_encoder_reset(encoder) == 1 }

  /// Encodes all of `bytes`; `emit` gets what comes out, piece by piece, each in `room`.
  public func encode(
    _ bytes: UnsafeRawBufferPointer, _ flush: Flush, through room: UnsafeMutableRawBufferPointer,
    _ emit: (UnsafeRawBufferPointer) -> Void
  ) throws(Failed) {
    let mode =
      switch flush {
      case .none: weir_flush_none
      case .block: weir_flush_block
      case .end: weir_flush_end
      }
    let input = bytes.bindMemory(to: UInt8.self)
    let output = room.bindMemory(to: UInt8.self)
    var at = 0
    while true {
      var taken = 0
      var written = 0
      var isDone: Int32 = 0
      let start = input.baseAddress.map { $0 + at }
      guard
        weir_encoder_step(
          encoder, Int32(mode), start, input.count - at, output.baseAddress, output.count, &taken, &written, &isDone)
          == 0
      else { throw Failed() }
      at += taken
      if written > 0 { emit(UnsafeRawBufferPointer(rebasing: room[..<written])) }
      if isDone != 0 { return }
      // A library that neither takes nor gives would keep the loop for ever.
      if taken == 0 && written == 0 { throw Failed() }
    }
  }

  /// All of `bytes` as one stream: for what is compressed once and kept.
  public static func whole(_ bytes: [UInt8], _ coding: Coding) -> [UInt8]? {
    guard let encoder = StreamEncoder(coding) else { return nil }
    var out: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 16 << 10)
    do {
      try bytes.withUnsafeBytes { input in
        try room.withUnsafeMutableBytes { room in
          try encoder.encode(input, .end, through: room) { out.append(contentsOf: $0) }
        }
      }
    } catch { return nil }
    return out
  }
}
