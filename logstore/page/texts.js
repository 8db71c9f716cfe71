// Texts: names, numbers, sizes and times as people read them. Pure: no page, no network.

const SHORT = { 9: "\\t", 10: "\\n", 13: "\\r" };
const MARKS = /[\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;
const HIDDEN = new RegExp(`[\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]|${MARKS.source}`, "gu");

/** A name for the eye: nothing in it is invisible or turns what stands around it. */
export function visible(name) {
  return String(name).replace(HIDDEN, (it) => {
    const code = it.codePointAt(0);
    if (code in SHORT) return SHORT[code];
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`; // a byte
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

/** A whole name for the eye: spaces at its ends, too. */
export const nameOf = (name) => visible(name).replace(/^ +| +$/g, (it) => "\\x20".repeat(it.length));

/** A name in a path. A byte that is not UTF-8 is \udc80 to \udcff in the API's answers. */
export function encodeName(name) {
  return String(name).replace(/[\ud800-\udfff]+|[^\ud800-\udfff]+/g, (run) => {
    if (!/[\ud800-\udfff]/.test(run)) return encodeURIComponent(run);
    return [...run].map((it) => {
      const code = it.codePointAt(0);
      if (code > 0xffff) return encodeURIComponent(it);
      return code >= 0xdc80 && code <= 0xdcff ? `%${(code - 0xdc00).toString(16)}` : "%EF%BF%BD";
    }).join("");
  });
}

/** What encodeName made; bytes that are not UTF-8 are \udc80 to \udcff again. */
export function decodeName(text) {
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      return piecemeal(run.match(/[0-9a-fA-F]{2}/g).map((it) => parseInt(it, 16)));
    }
  });
}

function piecemeal(octets) {
  let text = "";
  for (let at = 0; at < octets.length; ) {
    const length = [4, 3, 2, 1].find((it) => at + it <= octets.length && isCharacter(octets, at, it));
    text += length
      ? decodeURIComponent(octets.slice(at, at + length).map(percent).join(""))
      : String.fromCharCode(0xdc00 + octets[at]);
    at += length || 1;
  }
  return text;
}

const percent = (octet) => `%${octet.toString(16).padStart(2, "0")}`;

function isCharacter(octets, at, length) {
  try {
    return [...decodeURIComponent(octets.slice(at, at + length).map(percent).join(""))].length === 1;
  } catch {
    return false;
  }
}

/** An integer, given as a number or as digits of any length, in groups of three. */
export function grouped(number) {
  if (number === null || number === undefined || number === "") return "–";
  const text = typeof number === "number" ? String(Math.round(number)) : String(number);
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** "3 topics", "1 topic". */
export function counted(number, noun, plural = `${noun}s`) {
  return `${grouped(number)} ${String(number) === "1" ? noun : plural}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** A size, in three digits and a unit. */
export function size(number) {
  if (number === null || number === undefined) return "–";
  let value = Number(number);
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : threeDigits(value)} ${UNITS[unit]}`;
}

function threeDigits(value) {
  const size = Math.abs(value);
  if (size >= 99.95) return grouped(Math.round(value));
  return value.toFixed(size >= 9.995 ? 1 : 2);
}

/** A rate as a number; "–" while nobody knows it. */
export function rate(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0";
  return Math.abs(number) >= 9.995 ? grouped(Math.round(number)) : String(Number(number.toFixed(2)));
}

export const perSecond = (number) => (number === null || number === undefined ? "–" : `${rate(number)}/s`);
export const sizePerSecond = (number) =>
  number === null || number === undefined ? "–" : `${size(Math.round(number))}/s`;

const SPANS = [["y", 31_536_000_000], ["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

/** A length of time, in its two largest units. */
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const first = SPANS.findIndex(([, length]) => ms >= length);
  const [unit, length] = SPANS[first];
  const whole = Math.floor(ms / length);
  const next = SPANS[first + 1];
  const rest = next ? Math.floor((ms % length) / next[1]) : 0;
  return rest && whole < 10 ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

export const ago = (ms, now = Date.now()) =>
  ms === null || ms === undefined ? "–" : `${span(Math.max(0, now - ms))} ago`;

/** A moment, to the millisecond, in UTC or by the clock of whoever looks. */
export function moment(ms, utc = true) {
  const number = Number(ms);
  const given = ms === null || ms === undefined ? new Date(NaN) : new Date(number);
  if (Number.isNaN(given.getTime())) return "–";
  if (utc) return given.toISOString().replace("T", " ");
  const local = new Date(number - given.getTimezoneOffset() * 60_000);
  return local.toISOString().replace("T", " ").replace("Z", "");
}

export const clock = (ms) => moment(ms, false).slice(11, 19);

export const share = (part) => (part === null || part === undefined ? "–" : `${part >= 0.1 || part === 0 ? Math.round(part * 100) : (part * 100).toFixed(1)} %`);

/** What people call a door. */
export const doorName = (door) => ({ resp: "redis", amqp: "rabbitmq" })[door] ?? door;

/** A word for a shell. */
function quoted(word) {
  const text = String(word);
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (!/[\u0000-\u001f\u007f\ud800-\udfff]/u.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[\u0000-\u001f\u007f\ud800-\udfff\\']/gu, (it) => {
    const code = it.codePointAt(0);
    if (it === "\\" || it === "'") return `\\${it}`;
    return `\\x${(code >= 0xdc80 ? code - 0xdc00 : code).toString(16).padStart(2, "0")}`;
  });
  return `$'${escaped}'`;
}

let directory = ""; // of the server, for who may know it

export function commandsAt(data) {
  directory = data ?? "";
}

/** A command for a shell. A name that somebody gave is in brackets: [name]; it may begin with a hyphen. */
export function command(...words) {
  const given = words.filter(Array.isArray).flat();
  const first = words.findIndex(Array.isArray);
  const verbs = first < 0 ? words : words.slice(0, first);
  const options = first < 0 ? [] : words.slice(first).filter((it) => !Array.isArray(it));
  if (directory && words[0] === "logstore") options.push("--data", directory);
  const all = given.some((it) => String(it).startsWith("-")) ? [...verbs, ...options, "--", ...given] : [...verbs, ...given, ...options];
  return all.map(quoted).join(" ");
}

/** Bytes of base64, as a Uint8Array. */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (it) => it.charCodeAt(0));
}

/** Sixteen bytes a line: where, in hexadecimal, as text. */
export function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const digits = row.map((it) => it.toString(16).padStart(2, "0"));
    const halves = `${digits.slice(0, 8).join(" ").padEnd(23)}  ${digits.slice(8).join(" ").padEnd(23)}`;
    const text = row.map((it) => (it >= 0x20 && it < 0x7f ? String.fromCharCode(it) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${halves}  ${text}`);
  }
  return lines.join("\n");
}

/** A value in a CSV file; one that a spreadsheet would compute is a text. */
export function csvField(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (/^[=+\-@\t\r]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** How long the records of a topic stay, in words. */
export function kept(it) {
  const policies = String(it.cleanup_policy ?? "delete").split(",");
  const words = [];
  if (policies.includes("compact")) words.push("latest of each key");
  if (policies.includes("delete")) {
    const forever = it.retention_ms === null || it.retention_ms === undefined || Number(it.retention_ms) < 0;
    words.push(forever ? "for ever" : span(Number(it.retention_ms)));
  }
  return words.join(", ");
}
