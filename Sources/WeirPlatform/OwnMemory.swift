// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// What this process holds of the machine's memory.
///
/// The C library's own count of its heap, and not a count of ours at every buffer: it costs nothing per request and forgets
/// nothing. What is not heap (code, stacks, tables of the kernel) is taken once, at the beginning, as the difference to
/// what is resident. Resident memory alone would not do: the heap keeps pages that nobody uses, so it does not fall. Nor
/// would the heap alone: buffers are made larger than what comes, and pages that nobody has touched take no memory (3 000
/// connections that were turned away: 100 MiB of heap, 1 MiB resident). Both are more than what is held; so the lesser.
public struct OwnMemory: Sendable {
  /// What is not heap, in bytes.
  public let fixed: Int

  public init() { fixed = max(0, (OwnMemory.resident ?? 0) - (OwnMemory.heap ?? 0)) }

  /// Nil where the C library does not tell: musl, macOS.
  public var held: Int? { OwnMemory.heap.map { min($0 + fixed, OwnMemory.resident ?? .max) } }

  /// Bytes of the heap that are in use.
  public static var heap: Int? {
    let bytes = weir_heap_bytes()
    return bytes < 0 ? nil : Int(bytes)
  }

  /// What the machine has given this process, used or not.
  public static var resident: Int? {
    guard let text = try? Files.text("/proc/self/statm") else { return nil }
    let words = text.split(separator: " ")
    return words.count > 1 ? Int(words[1]).map { $0 * Int(sysconf(Int32(_SC_PAGESIZE))) } : nil
  }

  /// Gives unused pages of the heap back; some milliseconds, during which others wait for memory.
  public static func trim() { weir_heap_trim() }
}
