// JSON as it was written: indented, in its own order, with its own digits. Nothing is converted.

const TOKEN = /[ \t\r\n]+|"[^"\\\u0000-\u001f]*(?:\\.[^"\\\u0000-\u001f]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[{}[\],:]/y;
const INDENT = "  ";

/**
 * Pieces [kind, text] whose texts joined are the value, indented; null where it is not JSON.
 * Kinds: key, string, number, word, and "" for what stands between.
 */
export function pretty(text) {
  const tokens = tokensOf(text);
  return tokens && isValue(tokens) ? laidOut(tokens) : null;
}

function tokensOf(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) return null;
    if (!/^[ \t\r\n]/.test(match[0])) found.push(match[0]);
  }
  return found.length ? found : null;
}

const CLOSES = { "{": "}", "[": "]" };

// What may come next: v a value, e a value or "]", k a key, f a key or "}", c ":", n "," or the end.
function isValue(tokens) {
  const open = [];
  let next = "v";
  for (const token of tokens) {
    const closes = (token === "]" && next === "e") || (token === "}" && next === "f");
    if (closes || ((token === "]" || token === "}") && next === "n")) {
      if (CLOSES[open.pop()] !== token) return false;
      next = "n";
    } else if (next === "n") {
      if (token !== "," || open.length === 0) return false;
      next = open.at(-1) === "{" ? "k" : "v";
    } else if (next === "k" || next === "f") {
      if (token[0] !== '"') return false;
      next = "c";
    } else if (next === "c") {
      if (token !== ":") return false;
      next = "v";
    } else if (token === "{" || token === "[") {
      open.push(token);
      next = token === "{" ? "f" : "e";
    } else if (/^[\]},:]$/.test(token)) {
      return false;
    } else {
      next = "n";
    }
  }
  return next === "n" && open.length === 0;
}

function laidOut(tokens) {
  const pieces = [];
  let depth = 0;
  const line = () => pieces.push(["", `\n${INDENT.repeat(Math.min(depth, 50))}`]);
  tokens.forEach((token, at) => {
    const next = tokens[at + 1];
    if (token === "{" || token === "[") {
      pieces.push(["", token]);
      if (next !== CLOSES[token]) {
        depth += 1;
        line();
      }
    } else if (token === "}" || token === "]") {
      const before = tokens[at - 1];
      if (CLOSES[before] !== token) {
        depth -= 1;
        line();
      }
      pieces.push(["", token]);
    } else if (token === ",") {
      pieces.push(["", ","]);
      line();
    } else if (token === ":") {
      pieces.push(["", ": "]);
    } else {
      pieces.push([next === ":" ? "key" : kindOf(token), token]);
    }
  });
  return pieces;
}

function kindOf(token) {
  if (token[0] === '"') return "string";
  return /^[tfn]/.test(token) ? "word" : "number";
}
