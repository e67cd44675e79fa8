// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct StickyCookieTests {
  private let hash = KeyedHash(secret: 11, 22)
  private let names = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]

  private func code(_ sticky: StickyCookie, _ index: Int) -> [UInt8] {
    var buffer: [UInt8] = []
    sticky.write(index, into: &buffer)
    return buffer
  }

  @Test("a code leads back to its instance, wherever it stands in the list; secret and service change all codes")
  func codes() {
    let sticky = StickyCookie(hash: hash, service: "web", names: names)
    let turned = StickyCookie(hash: hash, service: "web", names: names.reversed())
    let others = [
      StickyCookie(hash: hash, service: "api", names: names),
      StickyCookie(hash: KeyedHash(secret: 11, 23), service: "web", names: names),
    ]
    #expect(sticky.violation() == nil)
    for index in 0..<3 {
      let code = code(sticky, index)
      #expect(
        code.count == 16 && sticky.read(code.span) == .named(index) && turned.read(code.span) == .named(2 - index))
      for other in others { #expect(other.read(code.span) == .unknown) }
    }
    let less = StickyCookie(hash: hash, service: "web", names: Array(names.dropFirst()))
    #expect(less.read(code(sticky, 0).span) == .unknown && less.read(code(sticky, 1).span) == .named(0))
    #expect(StickyCookie(hash: hash, service: "web", names: ["a", "a"]).violation() != nil)
  }

  @Test(
    "what is no code is unknown",
    arguments: ["x", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0", "zzzzzzzzzzzzzzzz"])
  func unknown(value: String) {
    let sticky = StickyCookie(hash: hash, service: "web", names: names)
    let bytes = Array(value.utf8)
    #expect(sticky.read(bytes.span) == .unknown)
    let empty: [UInt8] = []
    #expect(sticky.read(empty.span) == .none)
  }

  // All there is: three readings × four standings × two settings.
  @Test("every reading in every standing")
  func decisions() {
    for away in StickyCookie.Away.allCases {
      var settings = StickyCookie.Settings()
      settings.away = away
      let sticky = StickyCookie(settings, hash: hash, service: "web", names: names)
      for standing in StickyCookie.Standing.allCases {
        #expect(sticky.decide(.none, standing: standing) == .choose)
        #expect(sticky.decide(.unknown, standing: standing) == .choose)
        let expected: StickyCookie.Decision =
          switch standing {
          case .serving, .draining: .stay(1)
          case .full: .borrow
          case .away: away == .move ? .choose : .borrow
          }
        #expect(sticky.decide(.named(1), standing: standing) == expected)
      }
    }
  }
}
