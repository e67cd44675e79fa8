// SPDX-License-Identifier: Apache-2.0
import WeirWire

/// Finds the edge of `/from/<caller>/call/<callee>/<rest>`: a hash table over both names, made once.
///
/// The caller is named by the path, because `WEIR_URL` is `http://127.0.0.1:PORT/from/<service>`: a program appends
/// `/call/search/…` and needs to know nothing else. The listener is on the loopback address only; a program that names
/// another caller uses that one's settings, which is no more than it could do by calling the callee itself.
struct CallNames {
  private struct Place {
    var caller: [UInt8] = []
    var callee: [UInt8] = []
    var edge = -1
  }
  private var places: [Place]
  private let mask: Int

  init(_ calls: [ProxyConfiguration.CallName]) {
    var count = 2
    while count < calls.count * 2 { count <<= 1 }
    mask = count - 1
    places = Array(repeating: Place(), count: count)
    for call in calls {
      let (caller, callee) = (Array(call.caller.utf8), Array(call.callee.utf8))
      var hash = CallNames.seed
      for byte in caller { hash = CallNames.mix(hash, byte) }
      hash = CallNames.mix(hash, 0x2f)
      for byte in callee { hash = CallNames.mix(hash, byte) }
      var index = Int(truncatingIfNeeded: hash) & mask
      while places[index].edge >= 0 { index = (index + 1) & mask }
      places[index] = Place(caller: caller, callee: callee, edge: call.edge)
    }
  }

  /// The edge, and where in the buffer the rest of the path begins (at its `/`, or at its end when there is none).
  func edge(_ bytes: Span<UInt8>, _ path: Run) -> (edge: Int, rest: Int)? {
    let end = Int(path.end)
    var at = Int(path.start)
    guard CallNames.skip("/from/", bytes, &at, end) else { return nil }
    let caller = at
    var hash = CallNames.seed
    while at < end && bytes[at] != 0x2f {
      hash = CallNames.mix(hash, bytes[at])
      at += 1
    }
    let callerEnd = at
    guard CallNames.skip("/call/", bytes, &at, end) else { return nil }
    hash = CallNames.mix(hash, 0x2f)
    let callee = at
    while at < end && bytes[at] != 0x2f {
      hash = CallNames.mix(hash, bytes[at])
      at += 1
    }
    var index = Int(truncatingIfNeeded: hash) & mask
    while places[index].edge >= 0 {
      if CallNames.equals(places[index].caller, bytes, caller, callerEnd)
        && CallNames.equals(places[index].callee, bytes, callee, at)
      {
        return (places[index].edge, at)
      }
      index = (index + 1) & mask
    }
    return nil
  }

  /// FNV-1a (RFC 9923), 64 bits.
  private static let seed: UInt64 = 0xcbf2_9ce4_8422_2325
  private static func mix(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }

  private static func skip(_ text: StaticString, _ bytes: Span<UInt8>, _ at: inout Int, _ end: Int) -> Bool {
    let count = text.utf8CodeUnitCount
    if end - at < count { return false }
    for i in 0..<count where bytes[at + i] != text.utf8Start[i] { return false }
    at += count
    return true
  }

  private static func equals(_ name: [UInt8], _ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    if name.count != end - start { return false }
    for i in 0..<name.count where name[i] != bytes[start + i] { return false }
    return true
  }
}
