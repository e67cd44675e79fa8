// SPDX-License-Identifier: Apache-2.0
import NIOCore
package import WeirPlatform
import WeirWire

/// Which files a route gives out, and how.
package struct FilesPolicy: Sendable {
  let folder: StaticFolder
  /// Parts of the path that are the route's own, and no folder's.
  let skip: Int
  let index: String
  let spa: String?
  /// Seconds; -1: asked for each time.
  let cache: Int64

  package init(folder: StaticFolder, skip: Int, index: String, spa: String?, cache: Duration?) {
    self.folder = folder
    self.skip = skip
    self.index = index
    self.spa = spa
    self.cache = cache.map { $0.components.seconds } ?? -1
  }

  /// A head is read with so many bytes of the file, and so many are read at a time after it.
  static let firstBytes = 64 << 10
  static let pieceBytes = 128 << 10

  /// What is found, with as much of it as goes with the head.
  enum Found: Sendable {
    case nothing
    /// A folder asked for without its slash: its pages' relative links would lead elsewhere.
    case folder
    case file(FoundFile)
  }

  struct FoundFile: Sendable {
    var descriptor: Descriptor
    var verdict: FileRequest.Verdict
    var request: FileRequest
    var type: String
    var coding: ContentCoding
    /// What is sent.
    var range: Range<Int64>
    var first: [UInt8]
    /// Given for a path that has no file.
    var isStandIn: Bool
  }

  /// Looks for the file of a request; may wait for a disk, so never on a loop.
  ///
  /// `codings` are those that the caller reads, the best first: a packed sibling (`app.js.br`) that is not older than the
  /// file itself is given in its stead.
  func find(_ path: String, _ codings: [ContentCoding], _ head: RequestHead, _ bytes: ByteBuffer) -> Found {
    var name = path
    if name.isEmpty || name.hasSuffix("/") { name += index }
    switch folder.open(name) {
    case .file(let file): return give(file, name, codings, head, bytes, isStandIn: false)
    case .folder:
      if case .file = folder.open(name + "/" + index) { return .folder }
      return .nothing
    case .nothing: break
    }
    let last = path.split(separator: "/").last ?? ""
    guard let spa, !last.contains("."), case .file(let file) = folder.open(spa) else { return .nothing }
    return give(file, spa, codings, head, bytes, isStandIn: true)
  }

  private func give(
    _ plain: StaticFolder.File, _ name: String, _ codings: [ContentCoding], _ head: RequestHead, _ bytes: ByteBuffer,
    isStandIn: Bool
  ) -> Found {
    var file = plain
    var coding = ContentCoding.identity
    for candidate in codings {
      if case .file(let packed) = folder.open(name + candidate.suffix), packed.modified >= plain.modified {
        file = packed
        coding = candidate
        break
      }
    }
    let tag =
      "\"\(String(file.size, radix: 16))-\(String(file.modified, radix: 16))-\(String(file.nanoseconds, radix: 16))\""
    let request = FileRequest(tag: Array(tag.utf8), modified: file.modified, size: file.size)
    let verdict = request.judge(bytes.readableBytesUInt8Span, head)
    var range: Range<Int64> = 0..<0
    switch verdict {
    case .whole: range = 0..<file.size
    case .part(let part): range = part
    case .unchanged, .failed, .unsatisfiable: break
    }
    var found = FoundFile(
      descriptor: file.descriptor, verdict: verdict, request: request, type: MediaTypes.of(name), coding: coding,
      range: range, first: [], isStandIn: isStandIn)
    if head.method == .get && !range.isEmpty {
      let count = Int(min(Int64(FilesPolicy.firstBytes), range.upperBound - range.lowerBound))
      guard let first = try? file.descriptor.read(upTo: count, at: range.lowerBound), first.count == count else {
        // It has shrunk under our hands, or the disk does not answer.
        return .nothing
      }
      found.first = first
    }
    return .file(found)
  }
}

extension ContentCoding {
  /// Of the name of a packed file.
  var suffix: String {
    switch self {
    case .identity: ""
    case .gzip: ".gz"
    case .brotli: ".br"
    case .zstd: ".zst"
    }
  }
}
