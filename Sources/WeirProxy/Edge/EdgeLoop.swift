// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirCompression
import WeirWire

/// What a loop keeps for the work at its edge: buffers that all answers use in turn, and encoders for the next ones.
///
/// Confined to its loop.
final class EdgeLoop {
  /// Answers compressed at the same time, a loop.
  ///
  /// An encoder holds 0.2 (gzip), 0.9 (brotli) and 1.1 MiB (zstd), as docs/compression.md has it: 128 of them stay within 140 MiB. What comes beyond goes
  /// out as it is.
  static let streamsMax = 128
  /// Encoders that wait for the next answer, by coding.
  private static let idleMax = 8

  /// Data of chunks, before it is compressed.
  var plain = ByteBufferAllocator().buffer(capacity: 0)
  /// What has been compressed, before it is a chunk.
  var packed = ByteBufferAllocator().buffer(capacity: 0)
  let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 16)
  private var idle: [[StreamEncoder]] = [[], [], []]
  private(set) var streams = 0

  deinit { room.deallocate() }

  /// An encoder at its beginning; nil when there are enough at work, or no memory.
  func take(_ coding: StreamEncoder.Coding) -> StreamEncoder? {
    guard streams < EdgeLoop.streamsMax else { return nil }
    guard let encoder = idle[Int(coding.rawValue)].popLast() ?? StreamEncoder(coding) else { return nil }
    streams += 1
    return encoder
  }

  func giveBack(_ encoder: StreamEncoder) {
    streams -= 1
    let kind = Int(encoder.coding.rawValue)
    if idle[kind].count < EdgeLoop.idleMax && encoder.reset() { idle[kind].append(encoder) }
  }
}

extension ContentCoding {
  var encoder: StreamEncoder.Coding? {
    switch self {
    case .identity: nil
    case .gzip: .gzip
    case .brotli: .brotli
    case .zstd: .zstd
    }
  }
}
