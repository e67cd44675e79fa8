// SPDX-License-Identifier: Apache-2.0
internal import Foundation

extension ModelReader.Files {
  /// The files of this machine.
  package static var disk: ModelReader.Files {
    ModelReader.Files(
      read: { path in
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
          return .failure(.init("it does not exist"))
        }
        if isFolder.boolValue { return .failure(.init("it is a folder")) }
        guard FileManager.default.isReadableFile(atPath: path) else {
          return .failure(.init("its permissions do not allow it"))
        }
        // A pipe or device would never end; and no file of ours is larger than what is refused anyway.
        guard let handle = FileHandle(forReadingAtPath: path) else { return .failure(.init("it cannot be opened")) }
        defer { handle.closeFile() }
        do {
          let data = try handle.read(upToCount: Document.bytesMax + 4) ?? Data()
          return .success(Array(data))
        } catch {
          return .failure(.init("\(error.localizedDescription)"))
        }
      },
      names: { folder in
        // Nil is the answer for a folder that cannot be listed, whatever the cause.
        try? FileManager.default.contentsOfDirectory(atPath: folder)
      })
  }
}
