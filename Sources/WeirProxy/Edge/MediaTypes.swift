// SPDX-License-Identifier: Apache-2.0

/// The media type of a file by the end of its name.
package enum MediaTypes {
  /// `application/octet-stream` for what is not known: a browser then saves it, and does not guess.
  package static func of(_ path: String) -> String {
    let name = path.split(separator: "/").last ?? ""
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return "application/octet-stream" }
    return known[name[name.index(after: dot)...].lowercased()] ?? "application/octet-stream"
  }

  /// The registry's types of what websites are made of; text is UTF-8 (RFC 9110 §8.3.2 has no default).
  private static let known: [String: String] = [
    "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8",
    "txt": "text/plain; charset=utf-8", "md": "text/markdown; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "json": "application/json", "map": "application/json", "webmanifest": "application/manifest+json",
    "xml": "application/xml", "rss": "application/rss+xml", "atom": "application/atom+xml",
    "yaml": "application/yaml", "yml": "application/yaml", "pdf": "application/pdf", "wasm": "application/wasm",
    "zip": "application/zip", "gz": "application/gzip", "zst": "application/zstd", "tar": "application/x-tar",
    "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "avif": "image/avif", "ico": "image/vnd.microsoft.icon", "bmp": "image/bmp",
    "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf",
    "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav", "flac": "audio/flac", "mp4": "video/mp4",
    "webm": "video/webm", "mov": "video/quicktime", "m3u8": "application/vnd.apple.mpegurl", "ts": "video/mp2t",
    "ics": "text/calendar; charset=utf-8", "proto": "text/plain; charset=utf-8",
  ]
}
