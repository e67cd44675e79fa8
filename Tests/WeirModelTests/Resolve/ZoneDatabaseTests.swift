// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirModel
import WeirPatterns

/// Zones by name, out of a database that the test has made.
struct ZoneDatabaseTests {
  /// `zic -b slim -r @1577836800` of Europe/Berlin (2025b).
  private static let berlin =
    "VFppZjIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAVFppZjIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"
    + "AAAAAQAAAAUAAAAAXgvhAAAAABwgAQBDRVNUAApDRVQtMUNFU1QsTTMuNS4wLE0xMC41LjAvMwo="

  private final class Folder {
    let path: String

    init(_ files: [String: Data]) throws {
      path = NSTemporaryDirectory() + "weir-zones-\(UUID().uuidString.prefix(8))"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      for (name, content) in files {
        let file = URL(fileURLWithPath: path + "/" + name)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try content.write(to: file)
      }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private static func folder() throws -> Folder {
    let file = try #require(Data(base64Encoded: berlin))
    return try Folder([
      "Europe/Berlin": file, "Asia/Tokyo": file, "America/Argentina/Salta": file, "right/Europe/Berlin": file,
      "tzdata.zi": Data("# version".utf8), "Europe/Broken": Data("TZif2".utf8),
    ])
  }

  @Test("a name is a file of the database; UTC needs none")
  func found() throws {
    let folder = try Self.folder()
    let zone = try ZoneDatabase(folder: folder.path).zone(named: "Europe/Berlin")
    #expect(zone.name == "Europe/Berlin")
    // 2026-03-29T01:00:00Z
    #expect(zone.zone.changes.contains(.init(at: WallTime(milliseconds: 1_774_746_000_000), offset: 7200)))
    #expect(try ZoneDatabase(folder: folder.path).zone(named: "America/Argentina/Salta").name.hasSuffix("Salta"))
    #expect(try ZoneDatabase(folder: "/nowhere").zone(named: "UTC") == .utc)
  }

  @Test(
    "a name that gives no zone: what is wrong with it, and what is probably meant",
    arguments: [
      ("Europe/Berln", "did you mean 'Europe/Berlin'?", "Europe/Berlin"), ("Berlin", "Europe/Berlin", "Europe/Berlin"),
      ("europe/berlin", "no name of a time zone", "Europe/Berlin"), ("Salta", "Salta", "America/Argentina/Salta"),
      ("../Europe/Berlin", "no name", "Europe/Berlin"), ("right/Europe/Berlin", "no name", "Europe/Berlin"),
      ("Europe", "no time zone of", "Europe/Berlin"), ("+02:00", "no name", "Europe/Berlin"),
      ("", "no name", "Europe/Berlin"),
      ("Mars/Olympus_Mons", "is no time zone of", "Europe/Berlin"),
    ])
  func unknown(name: String, message: String, mend: String) throws {
    let folder = try Self.folder()
    let error = try #require(throws: ZoneDatabase.Unknown.self) {
      try ZoneDatabase(folder: folder.path).zone(named: name)
    }
    #expect(error.message.contains(message) && error.mend == mend, "\(error)")
  }

  @Test("a machine without a database, and a file that is none, are told")
  func broken() throws {
    let folder = try Self.folder()
    let none = try #require(throws: ZoneDatabase.Unknown.self) {
      try ZoneDatabase(folder: "/nowhere").zone(named: "Europe/Berlin")
    }
    #expect(none.message.contains("install the package tzdata") && none.mend == "UTC")
    let cut = try #require(throws: ZoneDatabase.Unknown.self) {
      try ZoneDatabase(folder: folder.path).zone(named: "Europe/Broken")
    }
    #expect(cut.message.contains("cannot be read as a time zone"))
  }

  /// On machines that have a database, as Linux has for most uses.
  @Test(
    "a job's zone is read with the file; for a length it is a mistake with its line",
    .enabled(if: FileManager.default.fileExists(atPath: "/usr/share/zoneinfo/Europe/Berlin")))
  func file() throws {
    func text(_ every: String, _ zone: String) -> String {
      """
      weir: 1
      system: shop
      services: { orders: { run: orders } }
      jobs:
        nightly: { every: \(every), zone: \(zone), do: POST orders/report }
      """
    }
    let design = try #require(read(text: text("\"0 3 * * *\"", "Europe/Berlin")).design)
    #expect(design.jobs.first?.zone.value.name == "Europe/Berlin")
    let plan = Plan(design)
    #expect(plan.jobs.first?.zone.changes.contains { $0.offset == 7200 } == true)
    let unknown = try #require(read(text: text("\"0 3 * * *\"", "Europe/Berln")).diagnostics.first)
    #expect(unknown.id == "wrong-value" && unknown.spot.line == 5 && unknown.spot.column == 40)
    #expect(unknown.mend == "zone: Europe/Berlin" && unknown.message.contains("did you mean 'Europe/Berlin'?"))
    let idle = try #require(read(text: text("15m", "Europe/Berlin")).diagnostics.first)
    #expect(idle.id == "conflict" && idle.spot.line == 5 && idle.message.contains("says nothing of 'every: 15m'"))
  }
}
