// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirWire

/// Scans a whole request.
func scan(
  _ text: String, from sender: RequestScanner.Sender = [], limits: HeadLimits = HeadLimits()
) -> (HeadOutcome, RequestHead) { scan(Array(text.utf8), from: sender, limits: limits) }

func scan(
  _ bytes: [UInt8], from sender: RequestScanner.Sender = [], limits: HeadLimits = HeadLimits()
) -> (HeadOutcome, RequestHead) {
  var scanner = RequestScanner()
  var head = RequestHead()
  let outcome = scanner.scan(bytes.span, from: sender, limits: limits, into: &head)
  return (outcome, head)
}

/// Scans a request that comes byte by byte, up to the first answer that is not `needMore`.
func scanByteByByte(_ bytes: [UInt8], from sender: RequestScanner.Sender = []) -> (HeadOutcome, RequestHead) {
  var scanner = RequestScanner()
  var head = RequestHead()
  var outcome = HeadOutcome.needMore
  for count in 1...max(1, bytes.count) where count <= bytes.count {
    outcome = scanner.scan(bytes.span.extracting(0..<count), from: sender, limits: HeadLimits(), into: &head)
    if outcome != .needMore { break }
  }
  return (outcome, head)
}

func answer(_ text: String, toHead: Bool = false) -> (HeadOutcome, ResponseHead) {
  var scanner = ResponseScanner()
  var head = ResponseHead()
  let outcome = scanner.scan(Array(text.utf8).span, toHead: toHead, limits: HeadLimits(), into: &head)
  return (outcome, head)
}

/// What was written, as text.
func text(_ buffer: HeadBuffer) -> String { String(decoding: buffer.storage.prefix(buffer.count), as: UTF8.self) }

/// The head that goes on.
func passed(_ text: String, from sender: RequestScanner.Sender = []) -> String? {
  let bytes = Array(text.utf8)
  let (outcome, head) = scan(bytes, from: sender)
  guard outcome == .complete else { return nil }
  var out = HeadBuffer()
  out.appendRequest(bytes.span, head)
  return WeirWireTests.text(out)
}

func part(_ text: String, _ run: Run) -> String { String(decoding: Array(text.utf8)[run.range], as: UTF8.self) }
