// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import WeirPatterns

/// A time zone of the file: its name, and what the machine's database says of it.
package struct JobZone: Sendable, Equatable {
  package var name: String
  package var zone: CronSchedule.Zone

  package static let utc = JobZone(name: "UTC", zone: .utc)
}

/// The IANA time zone database as machines have it: a folder with a file for each zone.
package struct ZoneDatabase: Sendable {
  /// Why a name gives no zone; both are parts of a message.
  package struct Unknown: Error, Sendable, Equatable {
    package var message: String
    package var mend: String?
  }

  /// Where Linux and macOS have it.
  package static let machine = ZoneDatabase(folder: "/usr/share/zoneinfo")

  /// Files are a few KiB long.
  private static let bytesMax = 1 << 20

  private let folder: String

  package init(folder: String) { self.folder = folder }

  package func zone(named name: String) throws(Unknown) -> JobZone {
    if name == JobZone.utc.name { return .utc }
    guard ZoneDatabase.isName(name) else {
      throw Unknown(
        message: "'\(name.prefix(64))' is no name of a time zone: a region and a place, as in Europe/Berlin",
        mend: nearest(name) ?? "Europe/Berlin")
    }
    let path = folder + "/" + name
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue,
      let handle = FileHandle(forReadingAtPath: path)
    else { throw unknown(name) }
    defer { handle.closeFile() }
    // What cannot be read is no zone either.
    guard let data = try? handle.read(upToCount: ZoneDatabase.bytesMax) else { throw unknown(name) }
    do throws(CronSchedule.Zone.Unreadable) {
      return JobZone(name: name, zone: try CronSchedule.Zone(file: Array(data)))
    } catch {
      throw Unknown(message: "\(path) cannot be read as a time zone: \(error.what)")
    }
  }

  private func unknown(_ name: String) -> Unknown {
    let names = self.names
    if names.isEmpty {
      return Unknown(
        message: "'\(name)' is not found: this machine has no database of time zones at \(folder); "
          + "install the package tzdata, or say UTC",
        mend: JobZone.utc.name)
    }
    var message = "'\(name)' is no time zone of \(folder)"
    let nearest = nearest(name)
    if let nearest { message += ": did you mean '\(nearest)'?" }
    return Unknown(message: message, mend: nearest ?? "Europe/Berlin")
  }

  private func nearest(_ name: String) -> String? {
    let names = self.names
    let wanted = name.replacing(" ", with: "_")
    // Whoever says Berlin means Europe/Berlin.
    let last = wanted.split(separator: "/").last.map { $0.lowercased() }
    let sameCity = names.first { $0.split(separator: "/").last.map { $0.lowercased() } == last }
    return Nearest.to(wanted, among: names) ?? sameCity
  }

  /// `Europe/Berlin`, `America/Argentina/Salta`, `Etc/GMT+3`; what begins with a small letter is no zone but a list, or one that
  /// counts leap seconds.
  private static func isName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return (1...3).contains(parts.count)
      && parts.allSatisfy { part in
        (1...32).contains(part.utf8.count) && (part.utf8.first ?? 0) &- 0x41 < 26
          && part.utf8.allSatisfy { byte in
            (byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == 0x2d || byte == 0x2b || byte == 0x5f
          }
      }
  }

  /// The names of its zones, in their order.
  private var names: [String] {
    guard let walk = FileManager.default.enumerator(atPath: folder) else { return [] }
    var names: [String] = []
    for case let name as String in walk where ZoneDatabase.isName(name) {
      var isFolder: ObjCBool = false
      if FileManager.default.fileExists(atPath: folder + "/" + name, isDirectory: &isFolder), !isFolder.boolValue {
        names.append(name)
      }
    }
    return names.sorted()
  }
}

extension ScalarType where T == JobZone {
  /// `Europe/Berlin`.
  static var zone: ScalarType {
    ScalarType(
      words: "a time zone of the IANA database", example: "Europe/Berlin",
      schema: pattern("^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){0,2}$"),
      read: { text in
        do throws(ZoneDatabase.Unknown) { return .value(try ZoneDatabase.machine.zone(named: text)) } catch {
          return .wrong(.init(error.message, mend: error.mend))
        }
      },
      write: { $0.name })
  }
}
