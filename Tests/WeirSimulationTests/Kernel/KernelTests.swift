// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirSimulation

@Suite("kernel")
struct KernelTests {
  /// Events come out by time, then in the order they went in: the reference is a stable sort.
  @Test("the agenda is a stable sort", arguments: 1...20)
  func agenda(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var agenda = Agenda()
    var wanted: [(at: Int64, payload: UInt64)] = []
    for i in 0..<500 {
      let at = Int64(random.index(below: 60))
      agenda.schedule(0, at: at, payload: UInt64(i))
      wanted.append((at, UInt64(i)))
      #expect(agenda.violation() == nil)
    }
    wanted.sort { ($0.at, $0.payload) < ($1.at, $1.payload) }
    for event in wanted {
      let next = agenda.next(upTo: .max)
      #expect(next?.at == event.at && next?.payload == event.payload)
    }
    #expect(agenda.next(upTo: .max) == nil)
  }

  /// What is after the limit stays.
  @Test("the agenda stops at the limit")
  func limit() {
    var agenda = Agenda()
    agenda.schedule(1, at: 10, payload: 0)
    #expect(agenda.next(upTo: 9) == nil)
    #expect(agenda.next(upTo: 10)?.kind == 1)
  }

  /// Values from tables: natural logarithms, the normal and Student's distribution (Abramowitz and Stegun).
  @Test("functions agree with tables")
  func functions() {
    #expect(abs(Mathematics.log(2) - 0.693147180559945309) < 1e-15)
    #expect(abs(Mathematics.log(1e-300) + 690.775527898213705) < 1e-12)
    #expect(Mathematics.log(1) == 0)
    #expect(abs(Mathematics.exp(1) - 2.718281828459045) < 1e-15)
    #expect(abs(Mathematics.exp(-20) / 2.061153622438558e-9 - 1) < 1e-15)
    #expect(abs(Mathematics.normalQuantile(0.975) - 1.959963984540054) < 1e-14)
    #expect(abs(Mathematics.normalQuantile(1e-10) + 6.361340902404056) < 1e-12)
    #expect(abs(Mathematics.normalQuantile(0.99) - 2.326347874040841) < 1e-14)
    for (freedom, t) in [
      (1, 12.706204736432095), (2, 4.302652729911275), (9, 2.2621571627409915), (19, 2.093024054408263),
    ] {
      #expect(abs(Mathematics.studentQuantile(0.975, freedom: freedom) - t) < 1e-9)
    }
    for i in 1...1000 {
      let x = Double(i) * 0.37
      #expect(abs(Mathematics.exp(Mathematics.log(x)) / x - 1) < 1e-14)
    }
  }

  @Test(
    "work has the mean it says",
    arguments: [
      WorkModel.exponential(mean: 1e6), .erlang2(mean: 1e6), .lognormal(mean: 1e6, cv2: 1), .constant(1e6),
      .hyperexponential(mean: 1e6, cv2: 2),
    ])
  func work(_ work: WorkModel) {
    let n = 200_000
    var sum = 0.0
    for i in 0..<n { sum += Double(work.draw(Draws.mixed(UInt64(i)))) }
    #expect(abs(work.mean / 1e6 - 1) < 1e-12)
    #expect(abs(sum / Double(n) / 1e6 - 1) < 0.02)
  }

  /// Little's law is seen to be broken when somebody is counted twice.
  @Test("a gauge notices a wrong booking")
  func gauge() {
    var gauge = QueueGauge()
    gauge.enter(at: 0)
    gauge.enter(at: 5)
    gauge.leave(enteredAt: 0, now: 10)
    #expect(gauge.violation(at: 20, inside: 1, entries: 5) == nil)
    #expect(gauge.violation(at: 20, inside: 0, entries: 0) != nil)
    gauge.leave(enteredAt: 7, now: 20)
    #expect(gauge.violation(at: 20, inside: 0, entries: 0) != nil)
  }
}
