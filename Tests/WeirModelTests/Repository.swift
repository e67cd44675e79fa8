// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirModel

/// The repository, seen from this file.
let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

/// A file of the repository.
func text(_ path: String) throws -> String {
  try String(contentsOf: repository.appending(path: path), encoding: .utf8)
}

/// A file of the repository, read under its path from there.
func read(_ path: String) -> ModelReader.Result {
  let root = repository.path
  let disk = ModelReader.Files.disk
  return ModelReader.read(
    path: path, files: .init(read: { disk.read(root + "/" + $0) }, names: { disk.names(root + "/" + $0) }))
}

/// A file in memory.
func read(text: String) -> ModelReader.Result { ModelReader.read(path: "weir.yaml", files: .init(["weir.yaml": text])) }
