// SPDX-License-Identifier: Apache-2.0
// The page: what is looked at, what is in the cart, what is ordered, and how that goes.
import * as api from "/shop-api.js";
import * as view from "/shop-view.js";

const at = (id) => document.getElementById(id);
const page = {
  find: at("find"), query: at("query"), found: at("found"), groups: at("groups"), degraded: at("degraded"),
  products: at("products"), content: at("content"), cart: at("cart"), cartCount: at("cart-count"),
  cartContent: at("cart-content"), checkout: at("checkout"), email: at("email"), error: at("checkout-error"),
  button: at("checkout-button"), live: at("live"), liveContent: at("live-content"), again: at("again"),
  ordersContent: at("orders-content"),
};

/** What this browser remembers; without storage it is a new customer each time. */
const memory = {
  read(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  write(name, value) {
    try {
      if (value === null) localStorage.removeItem(name);
      else localStorage.setItem(name, value);
    } catch {
      // Private windows refuse: the page works until it is closed.
    }
  },
};

const customer = memory.read("customer") ?? api.newId();
memory.write("customer", customer);

let products = [];
let group = "";
let cart = [];
/** Changes of the cart go one after the other, so that the last one wins. */
let saving = Promise.resolve();

const counted = (count, one, many) => (count === 1 ? `1 ${one}` : `${count} ${many}`);

// Products

function showProducts() {
  const words = page.query.value.trim().toLowerCase();
  const shown = products.filter((product) =>
    (group === "" || product.group === group) && `${product.name} ${product.about}`.toLowerCase().includes(words));
  page.found.textContent = counted(shown.length, "product", "products");
  page.content.replaceChildren(shown.length > 0
    ? view.goods(shown, add)
    : view.state({ kind: "box", title: "Nothing found", text: "Try another word, or all groups." }));
  page.content.ariaBusy = "false";
}

function showGroups() {
  const names = ["", ...new Set(products.map((product) => product.group))];
  page.groups.replaceChildren(...names.map((name) => {
    const node = view.element("button", "", name || "All");
    node.type = "button";
    node.ariaPressed = `${name === group}`;
    node.addEventListener("click", () => {
      group = name;
      for (const other of page.groups.children) other.ariaPressed = `${other === node}`;
      showProducts();
    });
    return node;
  }));
}

async function loadProducts() {
  page.content.ariaBusy = "true";
  // Grey bars only for what takes long enough to be noticed: they would flicker otherwise.
  const bars = products.length === 0 ? setTimeout(() => page.content.replaceChildren(view.loading()), 150) : 0;
  try {
    const { value, degraded } = await api.products();
    clearTimeout(bars);
    products = value;
    page.degraded.textContent = degraded ? "How many are left is not known right now. You can order all the same." : "";
    page.degraded.hidden = !degraded;
    showGroups();
    showProducts();
    showCart();
  } catch (error) {
    clearTimeout(bars);
    page.found.textContent = "";
    page.content.replaceChildren(view.state({
      kind: "broken", title: "The products could not be loaded", text: error.message,
      action: { label: "Try again", run: () => loadProducts().then(() => page.products.focus()) },
    }));
    page.content.ariaBusy = "false";
  }
}

// Cart

function showCart() {
  const lines = cart
    .map(({ product, quantity }) => ({ product: products.find((one) => one.id === product), quantity }))
    .filter(({ product }) => product);
  const count = cart.reduce((sum, line) => sum + line.quantity, 0);
  page.cartCount.textContent = `${count}`;
  page.checkout.hidden = lines.length === 0;
  page.cartContent.replaceChildren(lines.length > 0
    ? view.cartLines(lines, change)
    : view.element("p", "empty", "Nothing in it yet."));
}

function set(id, quantity) {
  const others = cart.filter((line) => line.product !== id);
  cart = quantity > 0 ? [...others, { product: id, quantity: Math.min(quantity, 99) }] : others;
  cart.sort((a, b) => (a.product < b.product ? -1 : 1));
  showCart();
  const lines = cart;
  saving = saving.then(() => api.keepCart(customer, lines)).then(
    () => refuse(""), (error) => refuse(`${error.message} The cart was not kept.`));
}

function add(product) {
  const line = cart.find((one) => one.product === product.id);
  set(product.id, (line?.quantity ?? 0) + 1);
}

function change(id, quantity, which) {
  set(id, quantity);
  // The buttons were made anew: the focus stays where it was, or goes to the cart when the line is gone.
  const name = { fewer: 0, more: 1, remove: 2 }[which];
  const line = page.cartContent.querySelector(`[data-id="${CSS.escape(id)}"]`);
  (line?.querySelectorAll("button")[name] ?? page.cart).focus();
}

async function loadCart() {
  try {
    cart = (await api.cart(customer)).value.lines;
    showCart();
  } catch (error) {
    page.cartContent.replaceChildren(view.state({
      kind: "broken", title: "The cart could not be loaded", text: error.message,
      action: { label: "Try again", run: () => loadCart().then(() => page.cart.focus()) },
    }));
  }
}

// Checkout

let ordering = false;

function refuse(sentence) {
  page.error.textContent = sentence;
}

page.checkout.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (ordering) return;
  const email = page.email.value.trim();
  const isFine = /^[^\s@]+@[^\s@]+$/.test(email);
  page.email.ariaInvalid = `${!isFine}`;
  if (!isFine) {
    refuse("Where should the confirmation go?");
    return page.email.focus();
  }
  ordering = true;
  page.button.ariaDisabled = "true";
  page.button.textContent = "Placing…";
  refuse("");
  await saving;
  // Drawn once for this order: if the answer is lost and the button pressed again, the same order is meant.
  const id = memory.read("ordering") ?? api.newId();
  memory.write("ordering", id);
  try {
    await api.checkOut(id, customer, email);
    memory.write("ordering", null);
    follow(id);
    page.live.focus();
  } catch (error) {
    // What was refused was not begun; whatever else may have been.
    if (error.status >= 400 && error.status < 500 && error.status !== 409) memory.write("ordering", null);
    refuse(`${error.message} Your cart is still here.`);
  } finally {
    ordering = false;
    page.button.ariaDisabled = "false";
    page.button.textContent = "Place order";
  }
});

// The order on its way

let followed = null;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Shows how an order goes until it is over and its mail is sent, also after a reload. */
async function follow(id) {
  followed = id;
  memory.write("following", id);
  page.live.hidden = false;
  let order = { id, state: "running", steps: [] };
  let shown = "";
  const show = (mail) => {
    // A status is read out when it changes, so it is not set again to what it was.
    const now = JSON.stringify([order, mail]);
    if (now === shown) return;
    shown = now;
    page.liveContent.replaceChildren(view.progress(order, mail));
  };
  show();
  while (followed === id && !view.isOver(order.state)) {
    try {
      order = { ...(await api.progress(id, "1s")).value, id };
      show();
    } catch (error) {
      if (error.status === 404) return forget();
    }
    if (!view.isOver(order.state)) await pause(0.5);
  }
  await Promise.all([loadOrders(), loadCart(), loadProducts()]);
  // The list is made of the order's events, and so a moment behind.
  for (let i = 0; followed === id; i += 1) {
    let mail = "waiting";
    try {
      // Not known before the event has been announced.
      const { state } = (await api.mail(id)).value;
      if (state !== "unknown") mail = state;
    } catch {
      // Asked again below.
    }
    if (followed !== id) return;
    show(mail);
    if (i < 10) await Promise.all([loadOrders(), loadCart()]);
    if (mail === "done" || mail === "dead") return forget(true);
    await pause(Math.min(1 + i / 4, 5));
  }
}

function forget(stays = false) {
  memory.write("following", null);
  page.live.hidden = !stays;
}

// Orders

async function loadOrders() {
  page.ordersContent.ariaBusy = "true";
  try {
    const { value } = await api.orders(customer);
    page.ordersContent.replaceChildren(value.length > 0
      ? view.orders(value)
      : view.state({ kind: "box", title: "No orders yet", text: "What you order will be listed here." }));
  } catch (error) {
    page.ordersContent.replaceChildren(view.state({
      kind: "broken", title: "The orders could not be loaded", text: error.message,
      action: { label: "Try again", run: () => loadOrders() },
    }));
  }
  page.ordersContent.ariaBusy = "false";
}

page.again.addEventListener("click", () => loadOrders());

// Finding

page.find.addEventListener("submit", (event) => {
  event.preventDefault();
  page.products.focus();
});
page.query.addEventListener("input", () => {
  if (products.length > 0) showProducts();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    page.query.focus();
    page.query.select();
  }
});

loadProducts();
loadCart();
loadOrders();
const unfinished = memory.read("following");
if (unfinished) follow(unfinished);
