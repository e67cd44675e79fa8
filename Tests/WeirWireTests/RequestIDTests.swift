// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

@Suite struct RequestIDTests {
  @Test("ids rise, within a millisecond, past its counter, and when the clock is set back")
  func rise() {
    var sequence = RequestIDSequence()
    var last: UInt64 = 0
    let times: [Int64] = [1000, 1000, 1001, 1001, 900, 1001, 1002]
    for (index, time) in times.enumerated() {
      for _ in 0..<(index == 1 ? 9000 : 3) {
        let next = sequence.next(milliseconds: time, random: 0xffff_ffff_ffff_ffff)
        #expect(next > last && next & 0xf000 == 0x7000)
        last = next
      }
    }
    #expect(sequence.next(milliseconds: 2000, random: 5) == (2000 << 16 | 0x7005))
  }

  @Test("as text: a UUID of version 7 and of the RFC's variant")
  func text() {
    var buffer = HeadBuffer()
    // RFC 9562, appendix A.6.
    buffer.append(uuid7: 0x017f_22e2_79b0_7cc3, 0x98c4_dc0c_0c07_398f)
    var text = ""
    for i in 0..<buffer.count { text.unicodeScalars.append(Unicode.Scalar(buffer.storage[i])) }
    #expect(text == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
  }
}
