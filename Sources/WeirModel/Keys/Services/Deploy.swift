// SPDX-License-Identifier: Apache-2.0

/// How a new version is brought out.
package struct Deploy: Sendable, Equatable {
  /// Instances that exist in addition while a new version is brought out; nil when the file does not say.
  package var surge: Value<Surge>?
}

/// Instances in addition during a deployment.
package enum Surge: Sendable, Equatable {
  case count(Int)
  /// Of the instances, rounded up.
  case share(Double)

  package func instances(of count: Int) -> Int {
    switch self {
    case .count(let n): n
    case .share(let share): Int((share * Double(count)).rounded(.up))
    }
  }
}

/// `deploy:`.
enum DeployKeys {
  static let surge = ScalarKey(
    "surge", .surge, "Instances in addition while a new version comes up; what `connection-storm` counts with.",
    refused: [(.run, "weir run does not bring out versions yet")])

  static let part = Part<Deploy>(
    "deploy", "How a new version is brought out.", start: { _, _ in Deploy() },
    [
      .optional(surge, \.surge),
      .later("strategy", "`rolling`, `canary`, `blue-green`."),
      .later("steps", "Shares of the traffic that a canary gets."),
      .later("each", "How long a step lasts."),
      .later("judge", "What a canary is judged by."),
      .later("drain", "How long old instances may finish."),
    ])
  static let section = part.section
}

extension ScalarType where T == Surge {
  static var surge: ScalarType {
    let count = ScalarType<Int>.count(0...1000)
    let share = ScalarType<Double>.share()
    return ScalarType(
      words: "a number of instances or a share of them", example: "25%",
      schema: .object([("oneOf", .array([count.schema, share.schema]))]),
      read: { text in
        if text.hasSuffix("%") {
          switch share.read(text) {
          case .value(let value): return .value(.share(value))
          case .wrong(let wrong): return .wrong(.init(wrong.message, mend: wrong.mend))
          }
        }
        switch count.read(text) {
        case .value(let value): return .value(.count(value))
        case .wrong(let wrong): return .wrong(.init(wrong.message, mend: wrong.mend))
        }
      },
      write: { surge in
        switch surge {
        case .count(let n): String(n)
        case .share(let value): plain(value * 100) + "%"
        }
      })
  }
}
