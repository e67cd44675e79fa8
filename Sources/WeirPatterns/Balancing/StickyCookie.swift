// SPDX-License-Identifier: Apache-2.0

/// Keeps a client at one instance by a cookie that names it, without telling where it is.
///
/// Source: HAProxy's `cookie … insert` with `option redispatch` and its `drain` state. The cookie's value is a code, 16
/// hexadecimal digits: the ``KeyedHash`` of what the instance is known by. Without the secret nobody can make one, nor
/// try addresses until one fits; who sends a code of another service, or of an instance that is gone, is treated as new.
/// All nodes with the same secret and file give the same codes, so the cookie holds across nodes and restarts.
///
///     cookie ──read──▶ named(i) ──decide(i's standing)──▶ stay(i)            serving or draining
///                 └──▶ none, unknown                 ├──▶ borrow             full: another once, the cookie stays
///                                  └──────────────────┴──▶ choose             another, and a new cookie
///
/// ## Invariants
/// 1. A code leads to the instance it was given for, or to none.
/// 2. A client without a cookie that is known always gets a choice and a cookie; nobody is refused for a cookie.
public struct StickyCookie: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// What a client does whose instance is out of rotation (ejected, failing its check).
    ///
    /// `move`, as HAProxy's `redispatch`: its session is lost there anyway.
    public var away = Away.move

    public init() {}
  }

  public enum Away: UInt8, Sendable, Equatable, CaseIterable {
    /// Goes to another for good: gets a new cookie.
    case move
    /// Goes to another until its own is back: keeps its cookie.
    case borrow
  }

  public enum Reading: Sendable, Equatable {
    case named(Int)
    /// It is not a code, or not of an instance that is listed now.
    case unknown
    /// There is no cookie.
    case none
  }

  /// How the named instance stands, as the driver sees it.
  public enum Standing: UInt8, Sendable, Equatable, CaseIterable {
    case serving
    /// It gets no new clients, but keeps those it has.
    case draining
    /// It serves, but all of its places are taken.
    case full
    /// It is out of rotation, or this call has tried it.
    case away
  }

  public enum Decision: Sendable, Equatable {
    /// Send it there.
    case stay(Int)
    /// Let the balancer choose for this once; the cookie stays as it is.
    case borrow
    /// Let the balancer choose, and set the cookie to the code of what it chose.
    case choose
  }

  private struct Entry: Sendable, Equatable, BitwiseCopyable {
    var code: UInt64
    var index: Int32
  }

  private let settings: Settings
  private let codes: [UInt64]
  /// By code: for the search.
  private let sorted: [Entry]

  /// `names` are what instances are known by, addresses for instance; `service` keeps the codes of two services apart.
  public init(_ settings: Settings = Settings(), hash: KeyedHash, service: String, names: [String]) {
    self.settings = settings
    // A zero byte between the two: no name has one, so no other pair reads the same.
    codes = names.map { hash.hash("sticky\u{0}\(service)\u{0}\($0)") }
    sorted = codes.enumerated().map { Entry(code: $0.element, index: Int32($0.offset)) }
      .sorted { ($0.code, $0.index) < ($1.code, $1.index) }
  }

  // MARK: Questions

  /// The instance a cookie's value names; an empty value is no cookie.
  public func read(_ value: Span<UInt8>) -> Reading {
    if value.isEmpty { return .none }
    if value.count != 16 { return .unknown }
    var code: UInt64 = 0
    for index in 0..<16 {
      let byte = value[index]
      // Lower case only, as they are written: one instance has one code.
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      default: return .unknown
      }
      code = code << 4 | UInt64(digit)
    }
    var low = 0
    var high = sorted.count
    while low < high {
      let middle = (low + high) / 2
      if sorted[middle].code < code { low = middle + 1 } else { high = middle }
    }
    return low < sorted.count && sorted[low].code == code ? .named(Int(sorted[low].index)) : .unknown
  }

  /// What to do with a request whose cookie reads so; `standing` is that of the named instance, else it is not looked at.
  public func decide(_ reading: Reading, standing: Standing = .away) -> Decision {
    guard case .named(let index) = reading else { return .choose }
    switch standing {
    case .serving, .draining: return .stay(index)
    case .full: return .borrow
    case .away: return settings.away == .move ? .choose : .borrow
    }
  }

  /// Appends the code of an instance, for the cookie that is set.
  public func write(_ index: Int, into buffer: inout [UInt8]) {
    var shift: UInt64 = 64
    while shift > 0 {
      shift -= 4
      let digit = UInt8(truncatingIfNeeded: codes[index] >> shift & 0xf)
      buffer.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for place in sorted.indices.dropFirst() where sorted[place - 1].code == sorted[place].code {
      // Two instances of one name, or one chance in 2⁶⁴ for each pair.
      return "instances \(sorted[place - 1].index) and \(sorted[place].index) have one code"
    }
    return nil
  }
}
