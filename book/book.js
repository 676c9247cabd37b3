// What HTML alone cannot do: remember light or dark, open what a link points into, search. Without it everything else can be read.
"use strict";

const root = document.documentElement;

// ---- light and dark: before the first paint ----

function remembered() {
  try { return localStorage.getItem("theme"); } catch { return null; }  // a page from disk may have no storage
}

function remember(theme) {
  try { localStorage.setItem("theme", theme); } catch { /* then it holds for this page */ }
}

if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();

function setUpTheme() {
  const button = document.querySelector("button.theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; button.title = `Switch to ${button.textContent.toLowerCase()} colours`; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); name(); });
  dark.addEventListener("change", name);
  name();
}

// ---- places ----

// #L12 may be a line in the middle of a paragraph, which has the number of its first line; and it may lie in something folded.
function goTo() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!id) return;
  let target = document.getElementById(id);
  const line = /^L(\d+)$/.exec(id);
  if (!target && line) {
    for (const place of document.querySelectorAll('[id^="L"]')) {
      const n = Number(place.id.slice(1));
      if (n <= Number(line[1]) && (!target || n > Number(target.id.slice(1)))) target = place;
    }
    if (target) target.scrollIntoView();
  }
  for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
}

// What scrolls sideways in its own box has to be reachable by keyboard; what does not scroll should not be a stop.
function markScrollers() {
  for (const box of document.querySelectorAll(".formula .part, .long, .scroll, pre, .asis")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; else box.removeAttribute("tabindex");
  }
}

function setUpKeys() {
  addEventListener("keydown", event => {
    const typing = event.target.closest && event.target.closest("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const box = document.querySelector('input[type="search"]');
      box.focus();
      box.select();
      event.preventDefault();
    } else if (event.key === "Escape") {
      const open = event.target.closest && event.target.closest("details.ask[open]");
      if (open) { open.open = false; open.querySelector("summary").focus(); }
    }
  });
}

// Answers of the exam are folded on the screen, not on paper.
function setUpPrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.fold:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
}

// ---- search ----

const KINDS = ["", "code", "question", "document"];
const MOST = 100;  // results that are listed; the number found is said in full

function literal(word) { return word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"); }  // for a regular expression

function find(index, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const phrase = words.join(" "), first = literal(words[0]), found = [];
  const whole = new RegExp(`(^|\\W)${first}(\\W|$)`), definition = new RegExp(`^(def|class) ${first}(\\W|$)`);
  index.entries.forEach((entry, i) => {
    const text = index.lower[i];
    if (!words.every(word => text.includes(word))) return;
    // the words in one piece, then the first of them as a whole word; a definition, then what is said, then the rest
    let score = [2, 0, 2, 1][entry[3]] + (text.includes(phrase) ? 4 : 0) + (whole.test(text) ? 3 : 0);
    if (entry[3] === 1 && definition.test(text)) score += 6;
    found.push([score, i]);
  });
  return found.sort((a, b) => b[0] - a[0] || a[1] - b[1]).map(([, i]) => i);
}

function marked(text, words) {
  const parts = document.createDocumentFragment();
  const pattern = new RegExp(`(${words.map(literal).join("|")})`, "ig");
  text.split(pattern).forEach((part, i) => {
    if (i % 2) { const mark = document.createElement("mark"); mark.textContent = part; parts.append(mark); } else parts.append(part);
  });
  return parts;
}

// Where a query is met first: all of it, or its first word.
function position(text, words) {
  const lower = text.toLowerCase().replace(/\s/g, " "), whole = lower.indexOf(words.join(" "));
  return Math.max(0, whole >= 0 ? whole : lower.indexOf(words[0]));
}

// Some words around that.
function context(text, words) {
  const flat = text.replace(/\s+/g, " "), at = position(flat, words);
  const begin = at < 90 ? 0 : flat.indexOf(" ", at - 80) + 1, end = flat.length < begin + 240 ? flat.length : flat.lastIndexOf(" ", begin + 240);
  return (begin ? "\u2026 " : "") + flat.slice(begin, end) + (end < flat.length ? " \u2026" : "");
}

function result(index, i, words) {
  const [page, section, at, kind, text] = index.entries[i], [url, file] = index.pages[page];
  let anchor = at;
  if (typeof at === "number") anchor = `L${at + text.slice(0, position(text, words)).split("\n").length - 1}`;  // of a paragraph: the line
  const item = document.createElement("li"), link = document.createElement("a"), place = document.createElement("span");
  const shown = document.createElement(kind === 1 ? "code" : "p");
  link.href = anchor ? `${url}#${anchor}` : url;
  link.textContent = file + (typeof at === "number" ? `, line ${anchor.slice(1)}` : "");
  place.className = "place";
  place.textContent = [section && ` ${section}`, KINDS[kind] && ` (${KINDS[kind]})`].filter(Boolean).join("");
  shown.className = "shown";
  shown.append(marked(kind === 1 ? text : context(text, words), words));
  item.append(link, place, shown);
  return item;
}

function setUpSearch() {
  const index = window.BOOK_INDEX, box = document.getElementById("q");
  if (!index || !box) return;
  const list = document.getElementById("results"), said = document.getElementById("found");
  index.lower = index.entries.map(entry => entry[4].toLowerCase().replace(/\s+/g, " "));
  const show = () => {
    const query = box.value.trim(), words = query.toLowerCase().split(/\s+/).filter(Boolean), found = find(index, query);
    list.replaceChildren(...found.slice(0, MOST).map(i => result(index, i, words)));
    said.textContent = !query ? "" : !found.length ? `Nothing found for \u201c${query}\u201d.`
      : `${found.length} ${found.length === 1 ? "place" : "places"} for \u201c${query}\u201d`
        + (found.length > MOST ? `, the first ${MOST} of them:` : ":");
  };
  let waiting;
  box.value = new URLSearchParams(location.search).get("q") || "";
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
  box.form.addEventListener("submit", event => {
    event.preventDefault();
    try { history.replaceState(null, "", `?q=${encodeURIComponent(box.value.trim())}`); } catch { /* from disk this may be refused */ }
    show();
  });
  show();
  if (!box.value) box.focus();
}

addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  setUpKeys();
  setUpPrinting();
  setUpSearch();
  markScrollers();
  document.fonts.ready.then(markScrollers);  // the formulas' font changes how wide they are
  addEventListener("resize", markScrollers);
  addEventListener("hashchange", goTo);
  goTo();
});
