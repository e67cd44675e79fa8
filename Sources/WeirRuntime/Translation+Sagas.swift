// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirProxy
import WeirWire

extension Translation {
  /// The plan's sagas, behind its queues: the logs of their journals, and who is asked for their steps.
  static func sagas(_ configuration: inout ProxyConfiguration, _ plan: Plan) {
    for saga in plan.sagas {
      var log = LogDeclaration(name: plan.queues[saga.queue].name)
      log.keep = Plan.sagasKeep.inNanoseconds / 1_000_000
      log.forgetting = .streams
      configuration.logs.append(log)
    }
    configuration.sagas = plan.sagas.map { saga in
      var settings = SagaRun.Settings()
      settings.saga = saga.settings
      settings.visibility = plan.queues[saga.queue].settings.visibility
      return SagaWork(
        name: saga.name, script: saga.script, settings: settings,
        calls: saga.calls.reduce(into: [:]) { calls, call in
          calls[call.target] = SagaWork.Call(
            edge: call.edge, service: plan.services[call.service].name, method: call.method, path: call.path,
            slots: plan.placesForSagas(call.service))
        })
    }
  }
}
