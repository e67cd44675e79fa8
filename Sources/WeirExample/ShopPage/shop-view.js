// SPDX-License-Identifier: Apache-2.0
// Elements for what the page shows. Text is always set as text, never as markup.

export function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const pictures = {
  mug: "M5 8h11v9a3 3 0 0 1-3 3H8a3 3 0 0 1-3-3Zm11 2h1.5a2.5 2.5 0 0 1 0 5H16M8 5V3m3 2V3",
  board: "M4 5h13a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H4Zm15 5h2v4h-2M7.5 9v6",
  kettle: "M6 20h11l1-8a6.5 6.5 0 0 0-13 0Zm12-7 3-3M8 6a4 4 0 0 1 7 0M11.5 5.5v-1.5",
  lamp: "M8 21h8m-4 0v-7M7 14h10L14 5h-4Z",
  blanket: "M5 5h14v14H5Zm0 4h14M5 15h14M8 19v2m4-2v2m4-2v2",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16Zm0 4v4l3 2",
  plant: "M8 15h8l-1 6H9Zm4 0V8m0 2c-4 0-5-2-5-5 3 0 5 1 5 5Zm0 1c0-4 2-5 5-5 0 3-1 5-5 5Z",
  notebook: "M7 3h10a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H7Zm-2 4h3m-3 5h3m-3 5h3M11 8h4",
  pen: "m5 19 2-6 9-9 4 4-9 9Zm2-6 4 4",
  umbrella: "M12 4a9 9 0 0 1 9 9H3a9 9 0 0 1 9-9Zm0-1v1m0 9v5a2 2 0 0 0 4 0",
  bag: "M5 9h14l-1 11a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1Zm4 3V7a3 3 0 0 1 6 0v5",
  chair: "M7 3v18M7 12h10v9M7 4h0m0 3h3m7 5V9",
  box: "m12 3 8 4v10l-8 4-8-4V7Zm0 9 8-5m-8 5L4 7m8 5v9",
  cart: "M3 4h2l2.5 11h9.5l2-8H6.5M9 20v.01M16 20v.01",
  broken: "M12 8v5m0 3v.01M10.6 4.2 3.2 17.5A1.6 1.6 0 0 0 4.6 20h14.8a1.6 1.6 0 0 0 1.4-2.5L13.4 4.2a1.6 1.6 0 0 0-2.8 0Z",
  done: "m5 12.5 4.5 4.5L19 7.5",
  bad: "m6 6 12 12M18 6 6 18",
  back: "M9 7 4 12l5 5m-5-5h11a5 5 0 0 1 0 10",
  busy: "M12 4a8 8 0 1 1-8 8",
  idle: "M12 11.5v1",
};

function picture(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", pictures[name] ?? pictures.box);
  svg.append(path);
  return svg;
}

const currency = new Intl.NumberFormat(undefined, { style: "currency", currency: "EUR" });
export const money = (cents) => currency.format(cents / 100);
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function button(label, className, run, name) {
  const node = element("button", `button ${className}`, label);
  node.type = "button";
  if (name) node.ariaLabel = name;
  node.addEventListener("click", run);
  return node;
}

/** A list of which Safari keeps the role though it has no bullets. */
function list(className, nodes, name = "ul") {
  const node = element(name, className, ...nodes);
  node.role = "list";
  return node;
}

/** The products; `add` is called with one. */
export function goods(products, add) {
  return list("goods", products.map((product) => {
    const price = element("span", "price", money(product.cents));
    const foot = element("div", "product-foot", price);
    if (product.left === 0) {
      foot.append(element("span", "few", "Sold out"));
    } else {
      foot.append(button("Add", "quiet", () => add(product), `Add ${product.name} to the cart`));
      if (product.left < 10) price.append(element("span", "few", `${product.left} left`));
    }
    const item = element(
      "li", "product card", element("div", "product-picture", picture(product.picture)),
      element("div", "product-words", element("h3", "", product.name), element("p", "", product.about)), foot);
    item.dataset.id = product.id;
    return item;
  }));
}

/** What is in the cart; `change` is called with a product's id and how many there shall be. */
export function cartLines(lines, change) {
  const items = lines.map(({ product, quantity }) => {
    const amount = element(
      "div", "amount",
      button("−", "quiet small", () => change(product.id, quantity - 1, "fewer"), `One ${product.name} fewer`),
      element("output", "", `${quantity}`),
      button("+", "quiet small", () => change(product.id, quantity + 1, "more"), `One ${product.name} more`));
    const item = element(
      "li", "line", element("span", "line-name", product.name),
      element("span", "line-price", money(product.cents * quantity)), amount,
      button("Remove", "text", () => change(product.id, 0, "remove"), `Remove ${product.name}`));
    item.dataset.id = product.id;
    return item;
  });
  const sum = lines.reduce((total, { product, quantity }) => total + product.cents * quantity, 0);
  return element(
    "div", "lines", list("lines", items),
    element("p", "sum", element("span", "", "Total"), element("span", "line-price", money(sum))));
}

/** What each step of the saga is to a customer. */
const stepWords = {
  "orders/open": "Order taken", "payments/authorize": "Payment", "inventory/reserve": "Goods reserved",
  "orders/confirm": "Order confirmed",
};

function wordsOf(step) {
  const path = `${step.do ?? step.name ?? ""}`.split(" ").pop();
  return stepWords[path] ?? path;
}

/** Weir's words for where a step is, and how the page shows them. */
const kinds = {
  waiting: "idle", calling: "busy", retrying: "busy", done: "done", refused: "bad", unclear: "back",
  undoing: "busy", "undo-retrying": "busy", undone: "back", stuck: "bad",
};

const stepState = {
  waiting: "", calling: "", done: "", retrying: "trying again", refused: "refused", unclear: "not clear",
  undoing: "taking back", "undo-retrying": "taking back", undone: "taken back", stuck: "stuck",
};

function stepItem(step) {
  const kind = kinds[step.state] ?? "idle";
  const attempts = step.attempts > 1 && kind === "busy" ? `, ${step.attempts} tries` : "";
  const words = (stepState[step.state] ?? step.state) + attempts;
  return element("li", `step ${kind}`, picture(kind), element("span", "", wordsOf(step)), element("small", "", words));
}

const ends = {
  running: ["In progress", ""], compensating: ["Being taken back", ""], finished: ["Placed", "good"],
  compensated: ["Not placed", "bad"], stuck: ["Somebody looks at it", "bad"],
};

export const isOver = (state) => state === "finished" || state === "compensated";

/** Why an order was not placed, as far as the steps tell. */
function why(order) {
  const number = Number(/^step (\d+)/.exec(order.cause ?? "")?.[1]);
  const failed = order.steps?.[number - 1];
  const words = failed && wordsOf(failed);
  if (words === "Payment" && failed.state === "refused") return "The payment was declined. You pay nothing.";
  if (words === "Goods reserved" && failed.state === "refused") return "Something is sold out. You pay nothing.";
  return "It could not be carried out. You pay nothing.";
}

const mailWords = {
  done: "The e-mail is sent.", dead: "The e-mail could not be sent.",
};

/** An order on its way. */
export function progress(order, mail) {
  const [words, className] = ends[order.state] ?? [order.state, ""];
  const body = element(
    "div", "live-body",
    element("div", "live-head", element("span", `badge ${className}`, words), element("code", "", order.id.slice(0, 8))),
    list("steps", (order.steps ?? []).map(stepItem), "ol"));
  if (order.state === "running") body.append(element("p", "hint", "You may close this page: it goes on without it."));
  if (order.state === "compensated") body.append(element("p", "", why(order)));
  if (mail) body.append(element("p", "hint", mailWords[mail] ?? "The e-mail waits to be sent."));
  body.dataset.state = order.state;
  body.dataset.mail = mail ?? "";
  return body;
}

const listed = { open: ["In progress", ""], placed: ["Placed", "good"], rejected: ["Not placed", "bad"] };

/** The orders of the customer. */
export function orders(all) {
  return list("order-list", all.map((order) => {
    const [words, className] = listed[order.state] ?? [order.state, ""];
    const time = element("time", "", absolute.format(new Date(order.opened_at)));
    time.dateTime = order.opened_at;
    const what = order.lines.map((line) => `${line.quantity} × ${line.name}`).join(", ");
    const item = element(
      "li", "order card",
      element("div", "", element("p", "order-what", what), time, " ", element("code", "", order.order_id.slice(0, 8))),
      element("div", "order-side", element("span", "price", money(order.total_cents)), element("span", `badge ${className}`, words)));
    item.dataset.id = order.order_id;
    item.dataset.state = order.state;
    return item;
  }));
}

/** Grey bars in the form of products, while they are loaded. */
export function loading() {
  const node = element("div", "goods");
  for (let i = 0; i < 6; i += 1) {
    const card = element(
      "div", "product card", element("div", "bone tall"),
      element("div", "product-words", element("div", "bone w80"), element("div", "bone w55")),
      element("div", "product-foot", element("div", "bone w55")));
    card.ariaHidden = "true";
    node.append(card);
  }
  node.append(element("p", "hidden", "Loading products"));
  return node;
}

/** One sentence or two in the place of a list, with a button if there is something to do. */
export function state({ kind, title, text, action }) {
  const node = element(
    "div", kind === "broken" ? "state card bad" : "state card",
    picture(kind), element("p", "", element("strong", "", title), text));
  if (kind === "broken") node.role = "alert";
  if (action) node.append(button(action.label, "quiet", action.run));
  return node;
}
