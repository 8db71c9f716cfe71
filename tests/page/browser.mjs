// A browser that is told what to do, a line of JSON each: {"do": a function's body, "given": its
// argument}. The body has page, context, browser and given; what it returns is the answer.

import readline from "node:readline";
import fs from "node:fs";

import { chromium } from "playwright-core";

const AXE = fs.readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const PATIENCE_MS = 15_000;

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
let context = null;
let page = null;
let said = []; // by the page, to whoever looks into its console
let loaded = 0; // bytes of bodies, as they were sent

/** A page that remembers nothing, in such a window. */
async function open({ scheme = "light", width = 1280, height = 850, more = {} }) {
  await context?.close();
  said = [];
  loaded = 0;
  context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, ...more });
  context.setDefaultTimeout(PATIENCE_MS);
  page = await context.newPage();
  page.on("console", (it) => ["error", "warning"].includes(it.type()) && said.push(it.text()));
  page.on("pageerror", (it) => said.push(String(it.stack)));
  page.on("dialog", (it) => {
    said.push(`dialog: ${it.message()}`);
    it.dismiss();
  });
  page.on("requestfinished", async (it) => {
    const { responseBodySize } = await it.sizes().catch(() => ({ responseBodySize: 0 }));
    loaded += responseBodySize;
  });
}

/** What axe-core finds: [rule, the first elements]. */
async function axe() {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] }));
  return violations.map((it) => [it.id, it.nodes.slice(0, 3).map((one) => one.html)]);
}

const kit = { open, axe, said: () => said.splice(0), loaded: () => loaded };
const AsyncFunction = open.constructor;
const put = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

put({ version: browser.version() });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  try {
    const act = new AsyncFunction("kit", "browser", "context", "page", "given", told.do);
    put({ value: (await act(kit, browser, context, page, told.given)) ?? null });
  } catch (error) {
    put({ error: String(error.stack) });
  }
}
await browser.close();
