// SPDX-License-Identifier: Apache-2.0
import WeirFlows
import WeirWire

/// Our own answers, one a reason, made once.
struct OwnAnswers {
  private let byReason: [ErrorAnswer]

  init() {
    byReason = Reason.allCases.map { reason in
      ErrorAnswer(
        status: reason.status == 0 ? 500 : reason.status, name: reason.name, error: reason.proxyStatus,
        detail: reason.sentence)
    }
  }

  subscript(_ reason: Reason) -> ErrorAnswer { byReason[Int(reason.rawValue)] }

  /// With what exactly is wrong, for whoever sent it.
  static func detailed(_ reason: Reason, _ error: HeadError) -> ErrorAnswer {
    ErrorAnswer(status: reason.status, name: reason.name, error: reason.proxyStatus, detail: error.sentence)
  }
}

extension HeadError {
  /// The reason of the closed list that a refused head or body is counted under.
  var reason: Reason {
    switch self {
    case .targetTooLong: .targetTooLong
    case .headTooLarge, .tooManyFields: .headTooLarge
    case .connect: .upgradeNotSupported
    case .expectation: .expectationFailed
    default: .badRequest
    }
  }
}
