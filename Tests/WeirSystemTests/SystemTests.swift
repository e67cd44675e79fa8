// SPDX-License-Identifier: Apache-2.0
import Testing

/// The built `weir` and `weir-example` as a person uses them: started, pressed, broken, ended.
///
/// One after another, for each starts a dozen processes and a machine of two cores runs other tests beside them.
@Suite(.serialized) enum SystemTests {}
