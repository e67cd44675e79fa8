// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Data and a message about it, written one after the other.
enum DualWrite: Rule {
  static let info = RuleInfo(
    "dual-write", .messaging, .warning, title: "Data and message are written without a common transaction",
    why:
      "Between the two writes the program can end, the queue can be full, a timeout can pass: then there is an order "
      + "of which nobody hears, or a mail about an order that was rolled back. No retry mends it, for nobody knows that "
      + "something is missing. At 50 orders/s and one break in 100000 it is 43 orders a day.",
    detection: "an operation that writes (POST, PUT, PATCH, DELETE), calls a store without `outbox` and sends; of a "
      + "service without operations any request does",
    formula: "writes − transactions over them > 0",
    mend: "Write the message into a table of the same store, in the same transaction, and name the table: `outbox: "
      + "weir_outbox` at the store; Weir sends from it, each row once. Or write one of the "
      + "two only, and make the other from it.",
    falsePositives:
      "Messages that may be missing, and a program that sends from a table of its own (accept it with the "
      + "table's name).")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for (index, service) in subject.design.services.enumerated() where !service.sends.isEmpty {
      if service.operations.isEmpty {
        let stores = service.calls.compactMap { store($0.to.value, subject) }
        let sends = service.sends
        if let store = stores.first, let send = sends.first {
          found.append(finding(service.name.text, store, send, at: send.place ?? service.name.place, subject))
        }
        continue
      }
      for operation in service.operations where !["GET", "HEAD", "OPTIONS"].contains(operation.method) {
        var stores: [Store] = []
        var sends: [Value<Component>] = []
        collect(operation.does, of: index, subject, &stores, &sends)
        guard let store = stores.first, let send = sends.first else { continue }
        found.append(
          finding(
            "\(operation.method) \(service.name.text)\(operation.path)", store, send, at: operation.place, subject))
      }
    }
    return found
  }

  private static func finding(
    _ name: String, _ store: Store, _ send: Value<Component>, at place: Place, _ subject: Subject
  ) -> Finding {
    let queue = subject.design.name(of: send.value).text
    return info.finding(
      "\(name) writes to \(store.name.text) and sends to \(queue): 2 writes, 0 transactions over both", at: place,
      spot: place.head, caret: "2 writes",
      why: "what ends between the two leaves data of which nobody hears, or a message about nothing",
      mend: "outbox: weir_outbox at \(store.name.path)",
      inputs: [
        Finding.Input("store", store.name.text, store.name.place), Finding.Input("sent to", queue, send.place),
      ], result: "2 − 0 = 2 writes without a transaction")
  }

  private static func store(_ component: Component, _ subject: Subject) -> Store? {
    guard case .store(let index) = component, subject.design.stores[index].outbox == nil else { return nil }
    return subject.design.stores[index]
  }

  private static func collect(
    _ steps: [Step], of service: Int, _ subject: Subject, _ stores: inout [Store], _ sends: inout [Value<Component>]
  ) {
    for step in steps {
      switch step {
      case .together(let steps): collect(steps, of: service, subject, &stores, &sends)
      case .call(let call):
        let to = subject.design.services[service].calls[call.call.value].to.value
        if let store = store(to, subject) { stores.append(store) }
      case .send(let send): sends.append(subject.design.services[service].sends[send.send.value])
      }
    }
  }
}
