// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import WeirCheck
import WeirModel
import WeirPlatform
import WeirReport
import WeirTelemetry

/// `weir explain FILE | RULE`: the whole effective design with origins, or what a rule is.
struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Print a file with every default and where each value comes from; or a rule.")

  @Argument(help: "A system's file, or the id of a rule.", completion: .file(extensions: ["yaml", "yml"]))
  var subject = "weir.yaml"
  @Option(help: "text or json.") var format = OutputFormat.text

  func run() throws {
    if !Files.exists(subject), let rule = Rules.all.first(where: { $0.id == subject }) {
      Output.result(RuleText.page(rule))
      return
    }
    let loaded = try LoadedFile(path: subject, format: format)
    switch format {
    case .text: Output.result(Explain.text(loaded.design, series: series(loaded.design)))
    case .json: Output.result(Explain.json(loaded.design).rendered())
    }
  }

  /// The metric series this system can have at most.
  private func series(_ design: Design) -> Int {
    let plan = Plan(design)
    return Metrics.seriesCount(
      routes: plan.routes.count, edges: plan.edges.count, instancesByEdge: plan.instancesByEdge,
      instances: plan.instances, zones: design.services.reduce(0) { $0 + $1.zoneNames.count })
  }
}
