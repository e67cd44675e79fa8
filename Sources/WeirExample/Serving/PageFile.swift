// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore

/// One file of the page, embedded in the binary, with what a browser needs to keep it.
struct PageFile: Sendable {
  let path: String
  let type: String
  let bytes: ByteBuffer
  /// A hash of the content (FNV-1a, 64 bits): it changes when the file does.
  let tag: String

  /// The page of the notes.
  static let all = [
    PageFile("/", "text/html; charset=utf-8", PackageResources.index_html),
    PageFile("/style.css", "text/css; charset=utf-8", PackageResources.style_css),
    PageFile("/app.js", "text/javascript; charset=utf-8", PackageResources.app_js),
    PageFile("/api.js", "text/javascript; charset=utf-8", PackageResources.api_js),
    PageFile("/view.js", "text/javascript; charset=utf-8", PackageResources.view_js),
    PageFile("/icon.svg", "image/svg+xml", PackageResources.icon_svg),
  ]

  /// The page of the shop.
  static let shop = [
    PageFile("/", "text/html; charset=utf-8", PackageResources.shop_html),
    PageFile("/shop.css", "text/css; charset=utf-8", PackageResources.shop_css),
    PageFile("/shop.js", "text/javascript; charset=utf-8", PackageResources.shop_js),
    PageFile("/shop-api.js", "text/javascript; charset=utf-8", PackageResources.shop_api_js),
    PageFile("/shop-view.js", "text/javascript; charset=utf-8", PackageResources.shop_view_js),
    PageFile("/shop.svg", "image/svg+xml", PackageResources.shop_svg),
  ]

  private init(_ path: String, _ type: String, _ content: [UInt8]) {
    self.path = path
    self.type = type
    bytes = ByteBuffer(bytes: content)
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in content { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    tag = "\"\(String(hash, radix: 16))\""
  }

  /// Only this origin, no inline code, no frames: the page needs nothing else.
  private static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

  func response(to request: Request) -> Response {
    var headers: HTTPFields = [
      .contentType: type,
      .eTag: tag,
      // Names carry no version, so a browser asks each time, and is told 304 unless the file changed.
      .cacheControl: "no-cache",
      .contentSecurityPolicy: PageFile.policy,
      .xContentTypeOptions: "nosniff",
    ]
    if let name = HTTPField.Name("referrer-policy") { headers[name] = "no-referrer" }
    if isKnown(to: request) { return Response(status: .notModified, headers: headers) }
    return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: bytes))
  }

  /// `If-None-Match`, compared weakly (RFC 9110 §13.1.2).
  private func isKnown(to request: Request) -> Bool {
    guard let field = request.headers[.ifNoneMatch] else { return false }
    return field.split(separator: ",").contains { part in
      var part = part.drop { $0 == " " }
      if part.hasPrefix("W/") { part = part.dropFirst(2) }
      while part.last == " " { part.removeLast() }
      return part == tag || part == "*"
    }
  }
}
