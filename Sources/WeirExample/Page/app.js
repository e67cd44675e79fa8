// SPDX-License-Identifier: Apache-2.0
// The page: what is typed, what is asked, what is shown.
import { add, latest, search } from "/api.js";
import { list, loading, state } from "/view.js";

const at = (id) => document.getElementById(id);
const page = {
  searchForm: at("search"), query: at("query"), addForm: at("add"), text: at("text"), addButton: at("add-button"),
  addError: at("add-error"), notes: at("notes"), title: at("notes-title"), count: at("count"), clear: at("clear"),
  degraded: at("degraded"), content: at("content"),
};

/** The request whose answer will be shown; a newer one takes its place, so that an old answer never covers a new one. */
let current = null;

function show(node) {
  page.content.replaceChildren(node);
  page.content.ariaBusy = "false";
}

function tell(degraded) {
  page.degraded.textContent = degraded ?? "";
  page.degraded.hidden = degraded === null;
}

/** How many notes one answer holds at most. */
const shownMax = 50;

const counted = (count, one, many) => (count === 1 ? `1 ${one}` : `${count} ${many}`);

/** Loads what the page is about now: the search of the address, or the latest notes. */
async function load({ newId = null, quietly = false } = {}) {
  const query = new URLSearchParams(location.search).get("q")?.trim() ?? "";
  current?.abort();
  const mine = new AbortController();
  current = mine;

  page.query.value = query;
  page.title.textContent = query ? `Notes with “${query}”` : "Latest notes";
  document.title = query ? `${query} – Notes` : "Notes";
  page.clear.hidden = query === "";
  if (!quietly) {
    page.count.textContent = "";
    tell(null);
  }
  page.content.ariaBusy = "true";
  // Grey bars only for what takes long enough to be noticed: they would flicker otherwise.
  const bars = quietly ? 0 : setTimeout(() => page.content.replaceChildren(loading()), 150);
  try {
    const { value: notes, degraded } = query ? await search(query, mine.signal) : await latest(mine.signal);
    if (current !== mine) return;
    clearTimeout(bars);
    showNotes(notes, { query, degraded, newId });
  } catch (error) {
    clearTimeout(bars);
    if (current !== mine || error.name === "AbortError") return;
    page.count.textContent = "";
    tell(null);
    show(state({
      kind: "broken", title: query ? "The search failed" : "The notes could not be loaded", text: error.message,
      action: { label: "Try again", run: () => load().then(() => page.notes.focus()) },
    }));
  }
}

function showNotes(notes, { query, degraded, newId }) {
  tell(degraded ? "Search is not available right now. Your notes are safe, and you can go on reading and writing." : null);
  if (notes.length > 0) {
    page.count.textContent = query ? counted(notes.length, "match", "matches") : counted(notes.length, "note", "notes");
    // The server gives the newest only.
    if (notes.length >= shownMax) page.count.textContent = `the newest ${notes.length}`;
    show(list(notes, { words: query.split(/\s+/).filter(Boolean), newId }));
  } else if (degraded) {
    page.count.textContent = "";
    show(state({
      kind: "search", title: "Nothing could be searched", text: "Try again in a moment.",
      action: { label: "Search again", run: () => load().then(() => page.notes.focus()) },
    }));
  } else if (query) {
    page.count.textContent = "No matches";
    show(state({ kind: "search", title: "No note matches", text: "Words match from their beginning. Try fewer or shorter ones." }));
  } else {
    page.count.textContent = "";
    show(state({ kind: "note", title: "No notes yet", text: "Write the first one, and it will be kept here." }));
  }
}

/** Goes to a search, or to all notes, in a way that Back undoes. */
function go(query) {
  const address = query ? `/?q=${encodeURIComponent(query)}` : "/";
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  return load();
}

page.searchForm.addEventListener("submit", (event) => {
  event.preventDefault();
  go(page.query.value.trim());
});
// The cross in a search field empties it without a submit.
page.query.addEventListener("search", () => {
  if (page.query.value === "") go("");
});
page.clear.addEventListener("click", () => {
  go("").then(() => page.query.focus());
});

let adding = false;

page.addForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (adding) return;
  const text = page.text.value.trim();
  if (text === "") return refuse("Write something first.");
  adding = true;
  page.addButton.ariaDisabled = "true";
  page.addButton.textContent = "Adding…";
  refuse("");
  try {
    const { value: note } = await add(text);
    page.text.value = "";
    if (location.search) history.pushState(null, "", "/");
    await load({ newId: note.id, quietly: true });
  } catch (error) {
    refuse(`${error.message} Your text is still here.`);
  } finally {
    adding = false;
    page.addButton.ariaDisabled = "false";
    page.addButton.textContent = "Add note";
    page.text.focus();
  }
});

function refuse(sentence) {
  page.addError.textContent = sentence;
  page.text.ariaInvalid = sentence ? "true" : "false";
  if (sentence) page.text.focus();
}

page.text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    page.addForm.requestSubmit();
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    page.query.focus();
    page.query.select();
  }
});

addEventListener("popstate", () => load());
load();
