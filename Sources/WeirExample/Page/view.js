// SPDX-License-Identifier: Apache-2.0
// Elements for what the page shows. Text is always set as text, never as markup.

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const pictures = {
  note: "M6 3h9l4 4v13a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1Zm3 8h6m-6 4h4",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Zm5 11.5L20 20",
  broken: "M12 8v5m0 3v.01M10.6 4.2 3.2 17.5A1.6 1.6 0 0 0 4.6 20h14.8a1.6 1.6 0 0 0 1.4-2.5L13.4 4.2a1.6 1.6 0 0 0-2.8 0Z",
};

function picture(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", pictures[name]);
  svg.append(path);
  return svg;
}

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function age(date) {
  const seconds = (date.getTime() - Date.now()) / 1000;
  if (seconds > -45) return "just now";
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), "minute");
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return absolute.format(date);
}

/** The text of a note, with what begins like a searched word marked. */
function marked(text, words) {
  const wanted = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (wanted.length === 0) return [text];
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(${wanted.join("|")})`, "giu");
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(end, match.index), element("mark", "", match[0]));
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

function noteItem(note, words, isNew) {
  const date = new Date(note.createdAt);
  const time = element("time", "", age(date));
  time.dateTime = note.createdAt;
  time.title = absolute.format(date);
  const text = element("p", "note-text", ...marked(note.text, words));
  if (note.text.length > 1200 || note.text.split("\n").length > 12) {
    // What scrolls must be reachable by keyboard.
    text.classList.add("long");
    text.tabIndex = 0;
    text.role = "region";
    text.ariaLabel = "Long note";
  }
  const item = element("li", isNew ? "note card new" : "note card", text, time);
  item.dataset.id = note.id;
  return item;
}

/** The list of notes. */
export function list(notes, { words = [], newId = null } = {}) {
  const node = element("ul", "list");
  // Said again because Safari drops the role of a list without bullets.
  node.role = "list";
  node.append(...notes.map((note) => noteItem(note, words, note.id === newId)));
  return node;
}

/** Grey bars in the form of notes, while they are loaded. */
export function loading() {
  const node = element("div", "list");
  for (let i = 0; i < 3; i += 1) {
    const card = element("div", "note card", element("div", "bone w80"), element("div", "bone w55"), element("div", "bone w25"));
    card.ariaHidden = "true";
    node.append(card);
  }
  node.append(element("p", "hidden", "Loading notes"));
  return node;
}

/** One sentence or two in the place of the list, with a button if there is something to do. */
export function state({ kind, title, text, action }) {
  const node = element(
    "div", kind === "broken" ? "state card bad" : "state card",
    picture(kind), element("p", "", element("strong", "", title), text));
  if (kind === "broken") node.role = "alert";
  if (action) {
    const button = element("button", "button quiet", action.label);
    button.type = "button";
    button.addEventListener("click", action.run);
    node.append(button);
  }
  return node;
}
