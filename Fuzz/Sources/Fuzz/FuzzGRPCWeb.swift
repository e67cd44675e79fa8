// SPDX-License-Identifier: Apache-2.0
import WeirWire

/// By parts as whole; never more bytes than the text has room for; what is decoded is encoded to a text that is decoded to it.
func fuzzGRPCWeb(_ bytes: [UInt8]) {
  var whole = GRPCWebText()
  var decoded: [UInt8] = []
  let isFine = whole.decode(bytes.span, into: &decoded)
  require(decoded.count <= bytes.count / 4 * 3, "\(decoded.count) bytes of \(bytes.count) characters")
  var parts = GRPCWebText()
  var same: [UInt8] = []
  var goesOn = true
  var at = 0
  while goesOn && at < bytes.count {
    let step = min(bytes.count - at, Int(bytes[at] & 7) + 1)
    goesOn = parts.decode(bytes.span.extracting(at..<(at + step)), into: &same)
    at += step
  }
  require(goesOn == isFine && same == decoded, "parts: \(same), whole: \(decoded)")
  if isFine { require(parts.isWhole == whole.isWhole, "parts end elsewhere") }
  var text: [UInt8] = []
  GRPCWebText.encode(decoded.span, into: &text)
  var back = GRPCWebText()
  var again: [UInt8] = []
  require(back.decode(text.span, into: &again) && back.isWhole && again == decoded, "not what was encoded")
  if let type = GRPCWebType.parse(bytes.span) {
    require(type.rest.range.upperBound == bytes.count && type.rest.range.lowerBound >= 20, "a type's end")
    require(GRPCWebType.first(inAccept: bytes.span) != nil || bytes.contains(0x2c), "a type that is not accepted")
  }
}
