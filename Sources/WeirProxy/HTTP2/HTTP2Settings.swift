// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP2

/// How HTTP/2 is spoken, on both sides: what is announced, and what a peer may do before it is sent away.
///
/// Streams and windows as Envoy's edge advice has them (100 streams, 1 MiB a connection), with larger windows for one
/// stream, so that one upload over a long way is not slow. A stream that is read at once buffers nothing; what a hostile
/// peer can make us hold is `http2Streams` × `http2Window` a connection.
///
/// NIOHTTP2 counts what floods are made of, and ends the connection with ENHANCE_YOUR_CALM:
/// | flood | limit |
/// |---|---|
/// | resets (CVE-2023-44487 and its reverse, CVE-2025-8671) | `http2Resets` in 30 s, and as many stream errors of ours |
/// | PING, SETTINGS, PRIORITY (CVE-2019-9512, -9515, -9513) | 200 in 30 s |
/// | CONTINUATION (CVE-2024-27316) | 5 in a row, within the size of a head |
/// | empty DATA (CVE-2019-9518) | 1 in a row |
/// | answers to control frames that the peer does not read | 1 000 kept |
enum HTTP2Settings {
  /// A head that is too large for us, but not for the decoder, is answered with 431; beyond that the connection ends,
  /// for a decoder that skips fields has lost its table.
  private static func headerListBytes(_ limits: ProxyLimits) -> Int { 2 * limits.headBytes }

  static func server(_ limits: ProxyLimits) -> NIOHTTP2Handler.ConnectionConfiguration {
    var configuration = common(limits)
    configuration.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: limits.http2Streams),
      HTTP2Setting(parameter: .initialWindowSize, value: limits.http2Window),
      HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes(limits)),
    ]
    return configuration
  }

  static func client(_ limits: ProxyLimits) -> NIOHTTP2Handler.ConnectionConfiguration {
    var configuration = common(limits)
    configuration.initialSettings = [
      HTTP2Setting(parameter: .enablePush, value: 0),
      HTTP2Setting(parameter: .maxConcurrentStreams, value: 0),
      HTTP2Setting(parameter: .initialWindowSize, value: limits.http2Window),
      HTTP2Setting(parameter: .maxHeaderListSize, value: headerListBytes(limits)),
    ]
    return configuration
  }

  private static func common(_ limits: ProxyLimits) -> NIOHTTP2Handler.ConnectionConfiguration {
    var configuration = NIOHTTP2Handler.ConnectionConfiguration()
    // Ours are stricter (`H2Request`, `H2Response`, `H2BodyLength`), and say what is wrong.
    configuration.headerBlockValidation = .disabled
    configuration.contentLengthValidation = .disabled
    configuration.maximumBufferedControlFrames = 1_000
    configuration.targetWindowSize = limits.http2ConnectionWindow
    return configuration
  }

  static func streams(_ limits: ProxyLimits) -> NIOHTTP2Handler.StreamConfiguration {
    var configuration = NIOHTTP2Handler.StreamConfiguration()
    configuration.targetWindowSize = limits.http2Window
    configuration.outboundBufferSizeHighWatermark = limits.http2WriteHigh
    configuration.outboundBufferSizeLowWatermark = limits.http2WriteHigh / 4
    configuration.streamResetFrameRateLimit.maximumCount = limits.http2Resets
    configuration.streamErrorRateLimit.maximumCount = limits.http2Resets
    return configuration
  }
}
