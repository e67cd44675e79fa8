// SPDX-License-Identifier: Apache-2.0
// The shop of this origin, over HTTP. Whoever stands in front (a gateway, a proxy) is none of the page's business.

/** An answer that was not what was asked for: its sentence is meant for people. */
export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, { patience = 10_000, ...options } = {}) {
  let response;
  try {
    const signal = AbortSignal.timeout(patience);
    response = await fetch(path, { ...options, signal, headers: { accept: "application/json", ...options.headers } });
  } catch (error) {
    throw new Failure(
      error.name === "TimeoutError" ? "The server takes too long to answer." : "The server cannot be reached.", 0);
  }
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok) throw new Failure(await reasonOf(response, type), response.status);
  if (!type.includes("json")) throw new Failure("The server gave an answer that this page does not understand.", response.status);
  return { value: await response.json(), degraded: response.headers.get("x-degraded") };
}

/** What a refusal says, if it says it in a form we know (RFC 9457). */
async function reasonOf(response, type) {
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

/** A random id; `crypto.randomUUID` is not there on plain HTTP but for localhost. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const json = { "content-type": "application/json" };

export const products = () => ask("/api/products");
export const cart = (customer) => ask(`/api/carts/${customer}`);
export const keepCart = (customer, lines) =>
  ask(`/api/carts/${customer}`, { method: "PUT", headers: json, body: JSON.stringify({ lines }) });
export const orders = (customer) => ask(`/api/orders?customer=${customer}`);

/** Orders what is in the cart. The id is the order's: asked again with it, the same order is meant. */
export const checkOut = (id, customer, email) =>
  ask("/api/orders", {
    method: "POST", headers: { ...json, "idempotency-key": id },
    body: JSON.stringify({ customer_id: customer, email }),
  });

/** How the order goes; answers when it is over, or after the wait. */
export const progress = (id, wait) => ask(`/api/orders/${id}?wait=${wait}`, { patience: 20_000 });
export const mail = (id) => ask(`/api/orders/${id}/mail`);
