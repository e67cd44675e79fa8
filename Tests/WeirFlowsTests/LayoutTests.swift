// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirFlows

/// The sizes that DESIGN §4 promises: a driver keeps one of these per request, so a field too many is paid ten thousand
/// times.
@Suite struct LayoutTests {
  private func isTrivial<T: BitwiseCopyable>(_ type: T.Type) -> Bool { true }

  @Test("what is kept per request is trivial and small")
  func sizes() {
    #expect(isTrivial(RequestFacts.self) && MemoryLayout<RequestFacts>.stride <= 64)
    #expect(isTrivial(UpstreamCall.self) && MemoryLayout<UpstreamCall>.stride <= 128)
    #expect(isTrivial(GatewayRequest.self) && MemoryLayout<GatewayRequest>.stride <= 128)
    #expect(isTrivial(Event.self) && MemoryLayout<Event>.stride <= 32)
    #expect(isTrivial(RequestRecord.self) && MemoryLayout<RequestRecord>.stride <= 64)
  }

  @Test("what goes between a flow and its driver is trivial")
  func answers() {
    #expect(isTrivial(CallStep.self) && MemoryLayout<CallStep>.stride <= 32)
    #expect(isTrivial(RequestStep.self) && isTrivial(RequestEnding.self) && isTrivial(LimitAnswer.self))
    #expect(isTrivial(IdentityAnswer.self) && MemoryLayout<IdentityAnswer>.stride <= 32)
    #expect(isTrivial(Reason.self) && MemoryLayout<Reason>.size == 1)
  }
}
