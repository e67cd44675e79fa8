// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirCheck
import WeirModel

/// What is a secret and what only looks like one; keys are put together here, so that no scanner takes them for real.
@Suite struct SecretTests {
  private func find(_ text: String, name: String? = nil) -> Secret? {
    Secret.find(in: [.literal(text)], name: name)
  }

  @Test(
    "forms of providers",
    arguments: [
      ("ghp" + "_" + String(repeating: "a1B2", count: 9), "a GitHub token, 40 characters"),
      ("xoxb" + "-" + String(repeating: "1", count: 24), "a Slack token, 29 characters"),
      ("sk_live" + "_" + String(repeating: "x", count: 16), "a Stripe key, 24 characters"),
      ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0." + "c2lnbmF0dXJlLXNpZw", "a JSON Web Token, 54 characters"),
    ])
  func known(text: String, words: String) {
    #expect(find(text, name: "X")?.words == words)
    #expect(find("prog --with \(text) --port 1")?.words == words)
  }

  @Test("one character less than a provider's form is none")
  func short() {
    #expect(find("sk_live" + "_" + String(repeating: "x", count: 15), name: "X") == nil)
  }

  @Test(
    "names whose literal value is a secret",
    arguments: ["PASSWORD", "DB_PASSWORD", "dbPassword", "SLACK_TOKEN", "API_KEY", "CLIENT_SECRET", "SIGNING_KEY"])
  func names(name: String) {
    #expect(find("abc", name: name)?.kind == "value of a secret's name")
    #expect(find("", name: name) == nil)
  }

  @Test(
    "names that only speak of secrets",
    arguments: ["PASSWORD_FILE", "TOKEN_TTL", "KEY_ID", "SECRET_NAME", "KEYBOARD", "PRIMARY_KEY", "COMPASS", "PWD"])
  func others(name: String) {
    #expect(find("abc", name: name) == nil)
  }

  @Test("a URL's password, and URLs without one")
  func urls() {
    #expect(find("postgres://app:hunter2@db:5432/x", name: "DB")?.words == "the password of a URL, 7 characters")
    #expect(find("postgres://app@db:5432/x", name: "DB") == nil)
    #expect(find("http://db:5432/a@b:c", name: "DB") == nil)
    #expect(find("postgres://app:$PASSWORD@db/x", name: "DB") == nil)
  }

  @Test("what is read at run time is none")
  func references() {
    let parts: [Text.Part] = [.literal("postgres://app:"), .secret("db"), .literal("@db/x")]
    #expect(Secret.find(in: parts, name: "DB_PASSWORD") == nil)
  }

  @Test("options of a command")
  func commands() {
    #expect(find("api --db-password hunter2 --port 1")?.words == "the literal value of --db-password, 7 characters")
    #expect(find("api --token='abc def'") != nil)
    #expect(find("api --token --verbose") == nil)
    #expect(find("api --password $DB_PASSWORD") == nil)
  }
}
