// SPDX-License-Identifier: Apache-2.0

/// Reads a Weir file and all that it includes: the one way from bytes to a `Design`.
///
/// Nothing is thrown for what stands in a file: every mistake is a diagnostic with its line. A file with mistakes gives
/// no design.
package enum ModelReader {
  package struct Result: Sendable {
    /// Nil if there is an error among the diagnostics.
    package var design: Design?
    /// In the order of the files and lines.
    package var diagnostics: [Diagnostic]
    /// The files that were read, the main one first: what diagnostics quote.
    package var sources: [Source]
  }

  /// How files are reached; tests bring their own.
  package struct Files: Sendable {
    /// The bytes of a file, or a sentence that says why not.
    package var read: @Sendable (String) -> Swift.Result<[UInt8], Unreadable>
    /// The names in a folder, or nil if it cannot be listed.
    package var names: @Sendable (String) -> [String]?

    package init(
      read: @escaping @Sendable (String) -> Swift.Result<[UInt8], Unreadable>,
      names: @escaping @Sendable (String) -> [String]?
    ) {
      self.read = read
      self.names = names
    }

    /// Files that are only in memory.
    package init(_ files: [String: String]) {
      let bytes = files.mapValues { Array($0.utf8) }
      self.init(
        read: { path in bytes[path].map { .success($0) } ?? .failure(Unreadable("it does not exist")) },
        names: { folder in
          let prefix = folder.isEmpty || folder == "." ? "" : folder + "/"
          return bytes.keys.filter { $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/") }
            .map { String($0.dropFirst(prefix.count)) }.sorted()
        })
    }
  }

  package struct Unreadable: Error, Sendable {
    package var reason: String
    package init(_ reason: String) { self.reason = reason }
  }

  /// The file at `path` and its includes.
  package static func read(path: String, files: Files) -> Result {
    var loading = Loading(files: files)
    loading.load(path, from: nil)
    guard !loading.roots.isEmpty, !loading.stopped else { return loading.result(design: nil) }
    var checker = Checker()
    for (index, root) in loading.roots.enumerated() { checker.check(root, isIncluded: index > 0) }
    guard case .map = loading.roots[0].kind else {
      loading.mistakes += checker.mistakes
      return loading.result(design: nil)
    }
    var resolver = Resolver(file: path, roots: loading.roots, refusals: checker.refusals)
    let design = resolver.resolve()
    loading.mistakes += checker.mistakes + resolver.mistakes
    return loading.result(design: design)
  }
}

/// The files of one design, while they are found and read.
private struct Loading {
  let files: ModelReader.Files
  var roots: [Node] = []
  var sources: [Source] = []
  var mistakes: [Diagnostic] = []
  /// A file cannot be understood at all: what other files say of its contents would only confuse.
  var stopped = false
  private var seen: [String] = []

  /// More files than any system needs: an include that goes wrong ends here.
  private static let filesMax = 256

  init(files: ModelReader.Files) { self.files = files }

  func result(design: Design?) -> ModelReader.Result {
    let ordered = Diagnostic.inOrder(mistakes, files: sources.map(\.file))
    return ModelReader.Result(
      design: ordered.contains { $0.severity == .error } ? nil : design, diagnostics: ordered, sources: sources)
  }

  mutating func load(_ path: String, from include: Node?) {
    guard !seen.contains(path) else {
      if let include {
        say("include-twice", "'\(path)' is included already", include, "remove it here")
      }
      return
    }
    seen.append(path)
    guard seen.count <= Loading.filesMax else {
      if !stopped, let include {
        say("include-too-many", "more than \(Loading.filesMax) files are included", include, nil)
      }
      stopped = true
      return
    }
    switch files.read(path) {
    case .failure(let unreadable):
      stopped = true
      if let include {
        say("unreadable-file", "'\(path)' cannot be read: \(unreadable.reason)", include, nil)
      } else {
        let source = Source(file: path, text: "")
        sources.append(source)
        mistakes.append(
          Diagnostic(
            "unreadable-file", .error, "this file cannot be read: \(unreadable.reason)",
            at: Place(file: path, path: "", value: source.spot(at: 0))))
      }
    case .success(let bytes):
      switch Document.read(file: path, bytes: bytes) {
      case .mistakes(let found, let source):
        sources.append(source)
        mistakes += found
        stopped = true
      case .document(let document):
        sources.append(document.source)
        roots.append(document.root)
        includes(of: document.root, path)
      }
    }
  }

  private mutating func includes(of root: Node, _ path: String) {
    guard let list = root.entry(RootKeys.include.name)?.value else { return }
    let folder = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) : ""
    for item in list.items {
      guard let scalar = item.scalar, !scalar.isNull else { continue }
      let pattern = normal(folder.isEmpty || scalar.text.hasPrefix("/") ? scalar.text : folder + "/" + scalar.text)
      for found in expand(pattern, item) { load(found, from: item) }
    }
  }

  private mutating func expand(_ pattern: String, _ item: Node) -> [String] {
    guard pattern.contains("*") else { return [pattern] }
    let slash = pattern.lastIndex(of: "/")
    let folder = slash.map { String(pattern[..<$0]) } ?? ""
    let name = slash.map { String(pattern[pattern.index(after: $0)...]) } ?? pattern
    guard !folder.contains("*") else {
      say("wrong-value", "* stands in the name of a file, not of a folder", item, "include: [scenarios/*.yaml]")
      return []
    }
    guard let names = files.names(folder.isEmpty ? "." : folder) else {
      say("unreadable-file", "there is no folder '\(folder)'", item, nil)
      return []
    }
    let found = names.filter { Glob.matches(name, $0) }.sorted().map { folder.isEmpty ? $0 : folder + "/" + $0 }
    if found.isEmpty { say("unreadable-file", "no file is called '\(pattern)'", item, nil) }
    return found.filter { !seen.contains($0) }
  }

  private mutating func say(_ id: String, _ message: String, _ node: Node, _ mend: String?) {
    node.isReported = true
    mistakes.append(Diagnostic(id, .error, message, at: node.place, mend: mend))
  }

  /// Without `.` and `a/..`, so that a file is known again by its path.
  private func normal(_ path: String) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/", omittingEmptySubsequences: true) where part != "." {
      if part == "..", let last = parts.last, last != ".." { parts.removeLast() } else { parts.append(part) }
    }
    return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
  }
}

/// `*` stands for any characters of a file's name; a leading dot must be written.
enum Glob {
  static func matches(_ pattern: String, _ name: String) -> Bool {
    if name.hasPrefix(".") && !pattern.hasPrefix(".") { return false }
    let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
    guard parts.count > 1, let first = parts.first, let last = parts.last else { return pattern == name }
    guard name.utf8.count >= first.utf8.count + last.utf8.count, name.hasPrefix(first), name.hasSuffix(last) else {
      return false
    }
    var rest = name.dropFirst(first.count).dropLast(last.count)
    for part in parts.dropFirst().dropLast() where !part.isEmpty {
      guard let found = rest.range(of: part) else { return false }
      rest = rest[found.upperBound...]
    }
    return true
  }
}

extension Substring {
  /// The first place where `part` stands.
  fileprivate func range(of part: Substring) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(part) { return start..<index(start, offsetBy: part.count) }
      start = index(after: start)
    }
    return nil
  }
}
