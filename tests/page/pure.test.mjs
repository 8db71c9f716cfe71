// Of the page's modules those that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { columnsOf } from "../../logstore/page/graph.js";
import { pretty } from "../../logstore/page/json_text.js";
import { placeOf, to } from "../../logstore/page/router.js";
import * as texts from "../../logstore/page/texts.js";

const HOSTILE = ["<script>", "/", "a/b?c#d%2F", "ü", "\u202egnp.exe", "a b\nc", "\udc80\udcff", "x\udce2\udc82y", "😀", "é\udc80é", "%", "..", "."];

test("a name in an address comes back as it was", () => {
  for (const name of HOSTILE) {
    assert.equal(texts.decodeName(texts.encodeName(name)), name);
    if (name !== "") assert.deepEqual(placeOf(to("queues", name, "x")).names, [name, "x"]);
  }
});

test("a byte that is not UTF-8 is that byte in a path", () => {
  assert.equal(texts.encodeName("a\udc80\udcff"), "a%80%ff");
  assert.equal(texts.decodeName("%80%e2%82%ac%e2%82"), "\udc80€\udce2\udc82");
});

test("a query keeps what it was given", () => {
  const { view, names, query } = placeOf(to("topics", "a?b", { f: "x&y=1", p: 2, none: "" }));
  assert.deepEqual([view, names, [...query]], ["topics", ["a?b"], [["f", "x&y=1"], ["p", "2"]]]);
  assert.equal(placeOf("").view, "overview");
});

test("nothing in a name is invisible", () => {
  assert.equal(texts.visible("a\u202eb\nc\u0007\udc80\u200b"), "a\\u202eb\\nc\\x07\\x80\\u200b");
  assert.equal(texts.visible("Zoë 👩‍🚀 שלום"), "Zoë 👩‍🚀 שלום");
  assert.equal(texts.visible("\ud800x"), "\\ud800x");
});

test("numbers of any length keep their digits", () => {
  assert.equal(texts.grouped("9223372036854775807"), "9,223,372,036,854,775,807");
  assert.equal(texts.grouped(1234567), "1,234,567");
  assert.equal(texts.grouped("-1200"), "-1,200");
  assert.equal(texts.grouped("999"), "999");
  assert.equal(texts.grouped(null), "–");
  assert.equal(texts.counted("1", "record"), "1 record");
  assert.equal(texts.counted(0, "entry", "entries"), "0 entries");
});

test("sizes, rates and spans", () => {
  assert.deepEqual(["0", 999, 1024, "1048576", 5 * 2 ** 40].map(texts.size), ["0 B", "999 B", "1.00 KiB", "1.00 MiB", "5.00 TiB"]);
  assert.deepEqual([0, 0.04, 3.2, 9.999, 420.4, 11900, null].map(texts.rate), ["0", "0.04", "3.2", "10", "420", "11,900", "–"]);
  assert.deepEqual([0, 999, 61_000, 3_600_000, 273_000_000, 86_400_000 * 40, 86_400_000 * 800].map((it) => texts.span(it)),
    ["0 ms", "999 ms", "1 min 1 s", "1 h", "3 d 3 h", "40 d", "2 y 70 d"]);
  assert.equal(texts.moment(1764381600000), "2025-11-29 02:00:00.000Z");
  assert.equal(texts.moment(9e18), "–");
});

test("a command can be pasted into a shell", () => {
  assert.equal(texts.command("logstore", "it's", "a b", "x"), "logstore 'it'\\''s' 'a b' x");
  assert.equal(texts.command("a\nb'\\\udc80"), "$'a\\x0ab\\'\\\\\\x80'");
  assert.equal(texts.command(""), "''");
  assert.equal(texts.command("logstore", "queue", "purge", ["mail"], "--vhost", "-v"), "logstore queue purge mail --vhost -v");
  assert.equal(texts.command("logstore", "queue", "purge", ["-rf"], "--vhost", "v"), "logstore queue purge --vhost v -- -rf");
  assert.equal(texts.command("$(rm -rf /)"), "'$(rm -rf /)'");
});

test("a field of CSV is no formula, and keeps its commas", () => {
  assert.equal(texts.csvField('a,"b"\nc'), '"a,""b""\nc"');
  assert.equal(texts.csvField("=1+1"), "'=1+1");
  assert.equal(texts.csvField("-12.5"), "-12.5");
  assert.equal(texts.csvField(null), "");
});

test("bytes in hexadecimal", () => {
  const lines = texts.hex(Uint8Array.from({ length: 18 }, (_, it) => it + 60)).split("\n");
  assert.equal(lines[0], "00000000  3c 3d 3e 3f 40 41 42 43  44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK");
  assert.equal(lines[1].trimEnd(), `00000010  4c 4d${" ".repeat(45)}LM`);
});

const joined = (text) => pretty(text)?.map(([, it]) => it).join("");

test("JSON keeps its order, its digits and its escapes", () => {
  assert.equal(joined('{"b":9007199254740993,"a":1.10,"c":[1e2,-0, {}],"d":"\\u00e9\\n<script>"}'),
    '{\n  "b": 9007199254740993,\n  "a": 1.10,\n  "c": [\n    1e2,\n    -0,\n    {}\n  ],\n  "d": "\\u00e9\\n<script>"\n}');
  assert.equal(joined(' "x" '), '"x"');
  assert.deepEqual(pretty('{"k":true}').map(([kind]) => kind).filter(Boolean), ["key", "word"]);
});

test("what JSON does not allow is not shown as JSON", () => {
  for (const it of ["", "{", "[1,]", "{a:1}", "01", "1 2", "[1 2]", '{"a"}', '{"a":}', '{"a":1,}', "nul", '"\n"', "]", ",", '{"a":1]', "{1:2}", "[,]", '{"a" "b"}', "+1", "NaN", '"\\', "1}"]) {
    assert.equal(pretty(it), null, it);
  }
});

test("whatever JSON.parse takes is laid out, and says the same", () => {
  for (const it of ["[]", "{}", "[[],[{}]]", '{"a":{"b":[]}}', "null", "[1,[2,[3]]]", '{"":""}', '"\\"\\\\"']) {
    assert.deepEqual(JSON.parse(joined(it)), JSON.parse(it));
  }
});

test("deep and long values neither overflow nor stall", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  assert.ok(pretty(deep));
  const long = `"${"a\\n".repeat(300_000)}"`;
  assert.equal(joined(long), long);
  assert.equal(pretty('"' + "a".repeat(1_000_000)), null);
});

const exchange = (name) => ({ id: `exchange:${name}`, kind: "exchange", name, flags: [] });
const queue = (name) => ({ id: `queue:${name}`, kind: "queue", name, flags: [] });
const bound = (from, to, key = "") => ({ from, to, kind: "binding", key, arguments: {} });
const names = (graph) => columnsOf(graph).map((column) => column.filter((it) => !it.passes).map((it) => it.name));

test("exchanges stand before what they lead to, and queues come last", () => {
  const nodes = [queue("mail"), exchange("c"), exchange("b"), exchange("a"), queue("alone")];
  const edges = [bound("exchange:a", "exchange:b"), bound("exchange:b", "exchange:c"), bound("exchange:c", "queue:mail"), bound("exchange:a", "queue:alone")];
  assert.deepEqual(names({ nodes, edges }).map((it) => it.toSorted()), [["a"], ["b"], ["c"], ["alone", "mail"]]);
  const passing = columnsOf({ nodes, edges }).map((column) => column.filter((it) => it.passes).length);
  assert.deepEqual(passing, [0, 1, 1, 0]); // from a past b and c
});

test("a circle of exchanges has columns, too", () => {
  const nodes = ["a", "b", "c"].map(exchange);
  const edges = [bound("exchange:a", "exchange:b"), bound("exchange:b", "exchange:c"), bound("exchange:c", "exchange:a"), bound("exchange:a", "exchange:a")];
  assert.deepEqual(names({ nodes, edges }).flat().toSorted(), ["a", "b", "c"]);
  assert.deepEqual(names({ nodes: [], edges: [] }), []);
  assert.deepEqual(names({ nodes: [queue("q")], edges: [bound("exchange:unknown", "queue:q")] }), [["q"]]);
});

test("a chain of 500 exchanges, and one exchange with 499 queues", () => {
  const chain = Array.from({ length: 500 }, (_, at) => exchange(`x${at}`));
  const links = chain.slice(1).map((it, at) => bound(chain[at].id, it.id));
  assert.equal(names({ nodes: chain.toReversed(), edges: links.toReversed() }).length, 500);
  const many = Array.from({ length: 499 }, (_, at) => queue(`q${at}`));
  assert.equal(names({ nodes: [exchange("x"), ...many], edges: many.map((it) => bound("exchange:x", it.id)) })[1].length, 499);
});
