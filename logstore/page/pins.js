// What this browser remembers: pinned objects, and how the page looks. Nothing of it is on the server.

const MOST = 50;

function kept(word, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`logstore.${word}`)) ?? otherwise;
  } catch {
    return otherwise; // no storage here, or somebody else's text in it
  }
}

function keep(word, value) {
  try {
    localStorage.setItem(`logstore.${word}`, JSON.stringify(value));
  } catch {
    // It is remembered until the page is left.
  }
}

const pins = new Map();

/** The keys of a kind that are pinned, in the order in which they were. */
export function pinned(kind) {
  if (!pins.has(kind)) {
    const found = kept(`pins.${kind}`, []);
    pins.set(kind, Array.isArray(found) ? found.filter((it) => typeof it === "string").slice(0, MOST) : []);
  }
  return pins.get(kind);
}

export const isPinned = (kind, key) => pinned(kind).includes(key);

export function togglePin(kind, key) {
  const before = pinned(kind);
  pins.set(kind, before.includes(key) ? before.filter((it) => it !== key) : [...before, key].slice(-MOST));
  keep(`pins.${kind}`, pins.get(kind));
}

const chosen = new Map();

/** A choice of this browser: choice("theme", "auto"). */
export const choice = (word, otherwise) => chosen.get(word) ?? kept(word, otherwise);

export function choose(word, value) {
  chosen.set(word, value);
  keep(word, value);
}
