// SPDX-License-Identifier: Apache-2.0
// The notes of this origin, over HTTP. Whoever stands in front (a gateway, a proxy) is none of the page's business.

/** An answer that was not what was asked for: its sentence is meant for people. */
export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** How long the page waits for an answer before it says so. */
const patience = 10_000;

async function ask(path, options = {}) {
  let response;
  try {
    const timeout = AbortSignal.timeout(patience);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    response = await fetch(path, { ...options, signal, headers: { accept: "application/json", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Failure("The server takes too long to answer.", 0);
    throw new Failure("The server cannot be reached.", 0);
  }
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok) throw new Failure(await reasonOf(response, type), response.status);
  if (!type.includes("json")) throw new Failure("The server gave an answer that this page does not understand.", response.status);
  return { value: await response.json(), degraded: response.headers.get("x-degraded") };
}

/** What a refusal says, if it says it in a form we know (RFC 9457). */
async function reasonOf(response, type) {
  if (response.status === 413) return "This note is too long.";
  if (type.includes("problem+json")) {
    try {
      const problem = await response.json();
      if (response.status < 500 && typeof problem.detail === "string") return sentence(problem.detail);
    } catch {
      // A broken problem is told as one without a detail.
    }
  }
  return response.status >= 500
    ? `The server has a problem (${response.status}).`
    : `The server refused (${response.status}).`;
}

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** The newest notes. */
export const latest = (signal) => ask("/api/notes", { signal });

/** The notes in which all words of `query` occur; `degraded` names what could not be asked. */
export const search = (query, signal) => ask(`/api/search?q=${encodeURIComponent(query)}`, { signal });

/** Adds a note and gives it back as it was kept. */
export const add = (text) =>
  ask("/api/notes", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text }),
  });
