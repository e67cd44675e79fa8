// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Refuses connections of one address, or over all, before anything has been spent on them.
///
/// Source: HAProxy's `src_conn_cur` and `src_conn_rate` stick tables (configuration manual, §7.3.3), `maxconn`
/// (§3.2); nginx `limit_conn`. Three limits, cheapest first: open over all, open of this address, new ones a second.
///
///     opened ──total──▶ by address ──▶ rate by address ──▶ accept … closed
///
/// The key is a hash of the address; for IPv6 the driver hashes the /64 prefix, for one host owns all of it. Open
/// connections are counted exactly: at most `total` addresses have one, so the table has room for every address there
/// can be. Rates are kept in a ``RateTable``, with its rule when it is full.
///
/// ## Invariants
/// 1. At most `total` are open, at most `perAddress` of one address.
/// 2. Each accepted connection is given back by one `closed`; an address with none open takes no memory.
/// 3. A refusal changes nothing.
public struct AddressLimit: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Open at the same time from one address: `flood.connections` of the file.
    ///
    /// Browsers open 6 per host over HTTP/1.1 (Chromium, Firefox), so 100 is about sixteen people behind one address.
    public var perAddress = 100
    /// Open at the same time over all.
    ///
    /// 10 000 idle connections must fit into 100 MiB (bar RP-9).
    public var total = 10_000
    /// New connections a second of one address: `flood.limit` of the file.
    public var rate = Rate(perSecond: 200)
    /// New connections of one address at once; one second's worth.
    public var burst = 200
    /// How many addresses' rates are remembered: 16 384 × 16 bytes = 256 KiB.
    ///
    /// Idle ones are free after a second.
    public var cells = 16_384
    /// Mixed into the hashes, so that nobody outside can choose addresses that meet in one place.
    public var salt: UInt64 = 0

    public init() {}
  }

  public enum Why: UInt8, Sendable, Equatable {
    case total, perAddress, rate
  }

  public enum Answer: Sendable, Equatable {
    case accept
    case refuse(Why)
  }

  /// Open connections of one address; `open == 0` marks a free place.
  private struct Place: Sendable, Equatable, BitwiseCopyable {
    var key: UInt64 = 0
    var open: Int32 = 0
  }

  /// How many are open over all.
  public private(set) var open = 0
  private let perAddress: Int32
  private let total: Int
  private let salt: UInt64
  private var mask: Int
  /// What an address had open when the settings were changed.
  private var mostOfOne: Int32 = 0
  /// Open addressing with linear probing, at most half full: `total` ≤ places ÷ 2.
  ///
  /// Deleted by shifting back (Knuth, TAOCP vol. 3, §6.4, algorithm R): no marks of the dead, so searches stay short.
  private var places: [Place]
  private var rates: RateTable

  public init(_ settings: Settings = Settings()) {
    perAddress = Int32(clamping: settings.perAddress)
    total = max(0, min(settings.total, 1 << 26))
    salt = settings.salt
    var count = 2
    while count < 2 * total { count <<= 1 }
    mask = count - 1
    places = [Place](repeating: Place(), count: count)
    var table = RateTable.Settings()
    table.cells = settings.cells
    table.salt = settings.salt
    rates = RateTable(GCRA(rate: settings.rate, burst: max(1, settings.burst)), table)
  }

  /// Live rates that were pushed out of the table, see ``RateTable``.
  public var evictedLive: UInt64 { rates.evictedLive }

  /// Whether a connection of `key`, which the system has accepted, may stay.
  public mutating func opened(_ key: UInt64, now: Instant) -> Answer {
    if open >= total { return .refuse(.total) }
    let index = find(key)
    if places[index].open >= perAddress { return .refuse(.perAddress) }
    guard case .allow = rates.admit(key: key, now: now) else { return .refuse(.rate) }
    places[index].key = key
    places[index].open += 1
    open += 1
    return .accept
  }

  /// A connection that was accepted has ended.
  public mutating func closed(_ key: UInt64) {
    var hole = find(key)
    precondition(places[hole].open > 0, "a connection is closed once")
    open -= 1
    places[hole].open -= 1
    if places[hole].open > 0 { return }
    // Shift back what could not be placed before because of this entry.
    var index = hole
    while true {
      index = (index + 1) & mask
      if places[index].open == 0 { break }
      let home = home(of: places[index].key)
      // It may move into the hole if its home is not within (hole, index], going round.
      if ((index - home) & mask) >= ((index - hole) & mask) {
        places[hole] = places[index]
        hole = index
      }
    }
    places[hole] = Place()
  }

  /// The same connections under other settings; who has more open than is allowed now keeps them.
  ///
  /// The salt stays, for it places what is in the table.
  public func moved(to settings: Settings) -> AddressLimit {
    var settings = settings
    settings.salt = salt
    var new = AddressLimit(settings)
    // Room for all that are open, where there may be fewer now.
    if open > new.total {
      settings.total = open
      let roomy = AddressLimit(settings)
      new.places = roomy.places
      new.mask = roomy.mask
    }
    for place in places where place.open > 0 {
      let index = new.find(place.key)
      new.places[index] = place
      new.mostOfOne = max(new.mostOfOne, place.open)
    }
    new.open = open
    // A second's worth of connections at most is forgotten when the rate is another.
    if new.rates.gcra == rates.gcra && new.rates.capacity == rates.capacity { new.rates = rates }
    return new
  }

  /// How many connections of `key` are open.
  public func open(of key: UInt64) -> Int { Int(places[find(key)].open) }

  private func home(of key: UInt64) -> Int {
    var state = key ^ salt
    return Int(truncatingIfNeeded: SeededRandom.split(&state)) & mask
  }

  /// The place of `key`, or the free one where it would go.
  private func find(_ key: UInt64) -> Int {
    var index = home(of: key)
    while places[index].open > 0, places[index].key != key { index = (index + 1) & mask }
    return index
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    var sum = 0
    for (index, place) in places.enumerated() where place.open != 0 {
      if place.open < 0 { return "place \(index) has \(place.open) open" }
      if place.open > max(perAddress, mostOfOne) { return "\(place.open) of one address are open" }
      if find(place.key) != index { return "place \(index) is not found by its key" }
      sum += Int(place.open)
    }
    if sum != open { return "\(sum) are in the table, \(open) are counted" }
    if 2 * open > places.count { return "\(open) are open in a table of \(places.count)" }
    return rates.violation()
  }
}
