// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// A saga of the file: how many of it are under way, and how they have ended.
  package struct Saga: Sendable, Codable, Equatable {
    package var name: String
    /// Under way or waiting to be begun.
    package var running: Int
    /// For a human.
    package var stuck: Int
    /// Since the plane has started, as are those that follow.
    package var finished: Int
    package var compensated: Int
    package var turned: Int
    /// How long one took that is over, in seconds; nil when none is.
    package var mean: Double?
    /// What those that are over took together; nil from a plane that does not say.
    package var seconds: Double?

    package init(
      name: String, running: Int, stuck: Int, finished: Int, compensated: Int, turned: Int, mean: Double?,
      seconds: Double? = nil
    ) {
      self.name = name
      self.running = running
      self.stuck = stuck
      self.finished = finished
      self.compensated = compensated
      self.turned = turned
      self.mean = mean
      self.seconds = seconds
    }
  }

  /// One of a saga.
  package struct SagaInstance: Sendable, Codable, Equatable {
    package struct Step: Sendable, Codable, Equatable {
      /// From 1.
      package var number: Int
      package var act: String
      package var undo: String?
      package var state: String
      package var attempts: Int
      package var undoAttempts: Int
      /// Of the latest answer; 0 when there was none.
      package var status: Int
      package var answer: String?
      package var undoStatus: Int
      package var undoAnswer: String?

      package init(
        number: Int, act: String, undo: String?, state: String, attempts: Int, undoAttempts: Int, status: Int,
        answer: String?, undoStatus: Int, undoAnswer: String?
      ) {
        self.number = number
        self.act = act
        self.undo = undo
        self.state = state
        self.attempts = attempts
        self.undoAttempts = undoAttempts
        self.status = status
        self.answer = answer
        self.undoStatus = undoStatus
        self.undoAnswer = undoAnswer
      }
    }

    package var id: String
    /// `waiting`, `running`, `compensating`, `stuck`, `finished`, `compensated`.
    package var state: String
    /// Why it turned back.
    package var cause: String?
    package var begunAt: String?
    /// When it goes on by itself.
    package var wakesAt: String?
    package var steps: [Step]

    package init(
      id: String, state: String, cause: String? = nil, begunAt: String? = nil, wakesAt: String? = nil,
      steps: [Step] = []
    ) {
      self.id = id
      self.state = state
      self.cause = cause
      self.begunAt = begunAt
      self.wakesAt = wakesAt
      self.steps = steps
    }
  }

  /// A page of them, and where the next one begins; nil at the end.
  package struct SagaInstances: Sendable, Codable, Equatable {
    package var instances: [SagaInstance]
    package var next: Int64?

    package init(instances: [SagaInstance], next: Int64?) {
      self.instances = instances
      self.next = next
    }
  }

  /// What a human says of a saga.
  package struct SagaOrder: Sendable, Codable, Equatable {
    package enum Word: String, Sendable, Codable, CaseIterable {
      case steer
      case turnBack = "turn-back"
    }
    package enum Verdict: String, Sendable, Codable, CaseIterable {
      case done
      case notDone = "not-done"
      case again
    }
    /// From 1.
    package var step: Int?
    package var verdict: Verdict?

    package init(step: Int? = nil, verdict: Verdict? = nil) {
      self.step = step
      self.verdict = verdict
    }
  }
}

extension [Status.Saga] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    return Status.table(
      ["saga", "running", "stuck", "finished", "compensated", "turned back", "mean"],
      map { saga in
        [
          saga.name, "\(saga.running)", saga.stuck == 0 ? "0" : paint.red("\(saga.stuck)"), "\(saga.finished)",
          "\(saga.compensated)", "\(saga.turned)",
          saga.mean.map { $0 < 10 ? "\(Int(($0 * 1000).rounded())) ms" : Status.length($0) } ?? "",
        ]
      }, paint)
  }
}

extension [Status.SagaInstance] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    return Status.table(
      ["id", "state", "step", "since", "cause"],
      map { saga in
        let done = saga.steps.count { $0.state == "done" }
        let at = saga.steps.first { $0.state == "stuck" }?.number ?? done
        return [
          saga.id, saga.state == "stuck" ? paint.red(saga.state) : saga.state,
          saga.steps.isEmpty ? "" : "\(at) of \(saga.steps.count)", saga.begunAt ?? "", saga.cause ?? "",
        ]
      }, paint)
  }
}

extension Status.SagaInstance {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    var out = "\(paint.bold(id))  \(state == "stuck" ? paint.red(state) : state)\n"
    for (name, value) in [("begun", begunAt), ("wakes", wakesAt), ("cause", cause)] {
      if let value { out += "  \(name)\(String(repeating: " ", count: 8 - name.count))\(value)\n" }
    }
    out += Status.table(
      ["step", "do", "state", "calls", "undos", "answer"],
      steps.map { step in
        let isUndo = step.undoStatus > 0 || step.undoAnswer != nil
        let status = isUndo ? step.undoStatus : step.status
        let text = (isUndo ? step.undoAnswer : step.answer) ?? ""
        return [
          "\(step.number)", step.act, step.state == "stuck" ? paint.red(step.state) : step.state, "\(step.attempts)",
          step.undo == nil ? "none" : "\(step.undoAttempts)",
          ((isUndo ? "undo: " : "") + (status > 0 ? "\(status) " : "") + String(text.prefix(60))).filter {
            !$0.isNewline
          },
        ]
      }, paint)
    return out
  }
}
