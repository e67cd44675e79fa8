// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import WeirBase
import WeirCheck
import WeirModel
import WeirPlatform
import WeirReport
import WeirRuntime

/// `weir check FILE…`: what will hurt.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Find what will hurt: limits that are missing, arithmetic that does not add up.",
    discussion: "Exit code 0: nothing found, or all of it accepted in the file; 1: findings; 2: a file cannot be read.")

  @Argument(help: "The files.", completion: .file(extensions: ["yaml", "yml"])) var files = ["weir.yaml"]
  @Option(help: "text or json.") var format = OutputFormat.text
  @Option(help: "The day by which acceptances and certificates expire, as 2026-11-21; today unless said.")
  var today: String?

  func validate() throws {
    if let today, Day(today) == nil {
      throw ValidationError("--today is a day such as 2026-11-21, not '\(today)'")
    }
  }

  func run() throws {
    let day = today ?? String(SystemClock.wall().rfc3339.prefix(10))
    var findings: [Finding] = []
    var sources: [Source] = []
    var unreadable = false
    for file in files {
      let result = ModelReader.read(path: file, files: .disk)
      sources += result.sources
      guard let design = result.design else {
        unreadable = true
        LoadedFile.print(result.diagnostics, sources: result.sources, format: format)
        continue
      }
      findings += Check.run(design, today: day, facts: MachineFacts(reading: design))
    }
    if unreadable { throw ExitCode.misuse }
    switch format {
    case .json: Output.result(Finding.json(findings).rendered())
    case .text: Output.result(FindingsText(sources).text(findings))
    }
    if findings.contains(where: \.fails) { throw ExitCode.findings }
  }
}
