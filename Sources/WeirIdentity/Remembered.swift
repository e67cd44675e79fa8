// SPDX-License-Identifier: Apache-2.0

/// What was found out lately, by key, in bounded memory: two generations, the older of which is forgotten as a whole.
///
/// A key that is used in the older one moves to the younger: what is hot stays. No list, no clock; at most twice
/// `generationMax` entries, and a look-up is one hash or two.
struct Remembered<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private var young: [Key: Value] = [:]
  private var old: [Key: Value] = [:]
  let generationMax: Int

  init(generationMax: Int) { self.generationMax = max(1, generationMax) }

  var count: Int { young.count + old.count }

  mutating func value(_ key: Key) -> Value? {
    if let value = young[key] { return value }
    guard let value = old.removeValue(forKey: key) else { return nil }
    remember(key, value)
    return value
  }

  mutating func remember(_ key: Key, _ value: Value) {
    if young.count >= generationMax { turn() }
    young[key] = value
  }

  mutating func forget(_ key: Key) {
    young[key] = nil
    old[key] = nil
  }

  /// The younger generation becomes the older one.
  mutating func turn() {
    old = young
    young = [:]
  }

  mutating func clear() {
    young = [:]
    old = [:]
  }
}

/// A SHA-256 value, as a key that is compared without an allocation.
struct DigestKey: Hashable, Sendable {
  var a: UInt64 = 0
  var b: UInt64 = 0
  var c: UInt64 = 0
  var d: UInt64 = 0

  init(_ bytes: some Sequence<UInt8>) {
    var words = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
    for (index, byte) in bytes.enumerated() {
      switch index >> 3 {
      case 0: words.0 = words.0 << 8 | UInt64(byte)
      case 1: words.1 = words.1 << 8 | UInt64(byte)
      case 2: words.2 = words.2 << 8 | UInt64(byte)
      default: words.3 = words.3 << 8 | UInt64(byte)
      }
    }
    (a, b, c, d) = words
  }
}
