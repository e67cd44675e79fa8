// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirCertificates
package import WeirCheck
package import WeirModel
import WeirPlatform

extension MachineFacts {
  /// What `weir check` finds on this machine of what a file names.
  ///
  /// What cannot be read is left out: a file is also checked where its certificates are not, and `weir run` says what it lacks.
  package init(reading design: Design) {
    let folder = Files.parent(of: design.file)
    let listeners = design.gateways.flatMap(\.listeners).flatMap(\.security.certificates)
    let all = listeners + design.services.compactMap { $0.tls?.certificate }
    var found: [Certificate] = []
    for file in all.map(\.chain.value) where !found.contains(where: { $0.file == file }) {
      guard let text = try? Files.text(Files.resolve(file, in: folder)),
        let first = try? CertificateChain.certificates(text).first, let facts = try? CertificateFacts(first),
        let until = Day(facts.notAfter)
      else { continue }
      found.append(Certificate(file: file, until: until))
    }
    self.init(certificates: found)
  }
}

extension Day {
  /// The day of a moment, in UTC.
  init?(_ date: Date) { self.init(String(date.formatted(.iso8601).prefix(10))) }
}
