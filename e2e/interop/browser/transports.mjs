// The official client in a real browser against the example `echo`, over every transport that it has for browsers:
//
//   node transports.mjs --url http://127.0.0.1:3000/ --deflate http://127.0.0.1:3001/ [--chromium PATH]
//
// The second server compresses WebSocket messages.
// The client is the bundle that pages load; XHR, fetch and WebSocket are told apart by what the browser says it asked.

import { readFileSync } from "node:fs";

import { assert, bundle, check, equal, launch, main, open, options, until } from "./support.mjs";

const { url, deflate, chromium } = options("url", "deflate");

// The bundle with named transports, fetch among them, is a module.
const MODULE = readFileSync(bundle("engine.io.esm.min.js"), "utf8");

/** A page on the server's own origin, and the kinds of its requests to the server. */
async function visit(browser, server = url) {
  const page = await open(browser, server);
  const asked = { kinds: new Set(), sockets: [], encodings: new Set() };
  const isOurs = (address) => new URL(address).pathname.startsWith("/engine.io");
  page.on("request", (request) => isOurs(request.url()) && asked.kinds.add(`${request.method()} ${request.resourceType()}`));
  page.on("response", (response) => isOurs(response.url()) && asked.encodings.add(response.headers()["content-encoding"] ?? "none"));
  page.on("websocket", (socket) => asked.sockets.push(socket.url()));
  return { page, asked };
}

/** Connects with these transports, by the names that the module gives them. */
async function connect(page, transports, settings = {}) {
  await page.evaluate(
    async ([source, transports, settings]) => {
      const engine = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      watch(new engine.Socket(location.origin, { ...settings, transports: transports.map((name) => engine[name]) }));
      window.began?.(client);
    },
    [MODULE, transports, settings],
  );
  await until(page, "the session", () => seen.opened);
}

const KINDS = {
  XHR: ["GET xhr", "POST xhr"],
  Fetch: ["GET fetch", "POST fetch"],
  WebSocket: [],
};

const TEXTS = ["hello", "", "Grüße, 電話, ☎️ 👩‍🚀", "line\nline\r\n\ttab", '4"quoted" \\ back', "x".repeat(100_000)];

await main(async (track) => {
  const browser = track(await launch(chromium));

  for (const [transport, kinds] of Object.entries(KINDS)) {
    await check(`${transport}: text of every kind comes back`, async () => {
      const { page, asked } = await visit(browser);
      await connect(page, [transport]);
      for (const text of TEXTS) {
        await page.evaluate((text) => client.send(text), text);
        await until(page, `the echo of ${text.slice(0, 20)}`, (n) => seen.messages.length === n, TEXTS.indexOf(text) + 1);
      }
      // The client's word for a packet without data is undefined.
      equal(await page.evaluate(() => seen.messages.map((text) => text ?? "")), TEXTS, "echoes");
      equal([...asked.kinds].sort(), kinds, "requests");
      equal(asked.sockets.length, transport === "WebSocket" ? 1 : 0, "WebSockets");
      // A poll of 100 kB is worth compressing.
      if (kinds.length) assert(asked.encodings.has("gzip"), `content encodings were ${[...asked.encodings]}`);
      await page.context().close();
    });

    await check(`${transport}: 300 messages sent at once come back in order`, async () => {
      const { page } = await visit(browser);
      await connect(page, [transport]);
      await page.evaluate(() => {
        for (let n = 0; n < 300; n++) client.send(String(n));
      });
      await until(page, "300 echoes", () => seen.messages.length >= 300);
      equal(await page.evaluate(() => seen.messages.map(Number)), Array.from({ length: 300 }, (_, n) => n), "order");
      await page.context().close();
    });

    for (const binaryType of ["arraybuffer", "blob"]) {
      await check(`${transport}: binary of every kind comes back as ${binaryType}`, async () => {
        const { page } = await visit(browser);
        await connect(page, [transport]);
        const got = await page.evaluate(async (binaryType) => {
          client.binaryType = binaryType;
          const all = Uint8Array.from({ length: 256 }, (_, n) => n);
          // A view of a part must not bring the rest of its buffer along.
          const kinds = [all.buffer, all.subarray(10, 20), new Blob([all]), new Uint16Array([1, 65535]), new ArrayBuffer(0)];
          const wanted = await Promise.all(kinds.map((kind) => (ArrayBuffer.isView(kind) ? new Uint8Array(kind.buffer, kind.byteOffset, kind.byteLength) : kind)).map(bytes));
          const echoes = [];
          for (const kind of kinds) {
            client.send(kind);
            const echo = await new Promise((done) => client.once("message", done));
            echoes.push({ type: echo.constructor.name, bytes: await bytes(echo) });
          }
          return { wanted, echoes };
        }, binaryType);
        const type = binaryType === "blob" ? "Blob" : "ArrayBuffer";
        equal(got.echoes, got.wanted.map((bytes) => ({ type, bytes })), "echoes");
        await page.context().close();
      });
    }
  }

  for (const first of ["XHR", "Fetch"]) {
    await check(`${first} upgrades to WebSocket while messages flow, and loses none`, async () => {
      const { page, asked } = await visit(browser);
      // Before, during and after the move.
      await page.evaluate(() => {
        window.sent = 0;
        window.began = (client) => {
          let moved = Infinity;
          const say = () => {
            client.send(String(sent++));
            // A slow machine has sent few messages by then.
            if (sent >= 40 && Date.now() > moved + 100) clearInterval(timer);
          };
          const timer = setInterval(say, 2);
          client.once("open", () => Array.from({ length: 20 }, say));
          client.once("upgrade", () => { moved = Date.now(); });
        };
      });
      await connect(page, [first, "WebSocket"]);
      await until(page, "the upgrade", () => seen.upgraded);
      await until(page, "all echoes", () => sent >= 40 && seen.messages.length === sent);
      const echoes = await page.evaluate(() => seen.messages.map(Number));
      equal(echoes, echoes.map((_, at) => at), "order");
      equal(await page.evaluate(() => seen.transports), ["polling", "websocket"], "transports");
      equal([...asked.kinds].sort(), KINDS[first], "requests");
      equal(asked.sockets.length, 1, "WebSockets");
      await page.context().close();
    });
  }

  await check("WebSocket messages are compressed where the server wants it", async () => {
    for (const [server, extensions] of [
      [deflate, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
      [url, ""],
    ]) {
      const { page } = await visit(browser, server);
      await connect(page, ["WebSocket"]);
      equal(await page.evaluate(() => client.transport.ws.extensions), extensions, "extensions");
      // Twice: neither side may refer to what it sent before.
      for (let n = 1; n <= 2 * TEXTS.length; n++) {
        await page.evaluate((text) => client.send(text), TEXTS[(n - 1) % TEXTS.length]);
        await until(page, `echo ${n}`, (n) => seen.messages.length === n, n);
      }
      equal(await page.evaluate(() => seen.messages.map((text) => text ?? "")), [...TEXTS, ...TEXTS], "echoes");
      await page.context().close();
    }
  });

  await check("the default options of the plain bundle upgrade too", async () => {
    const { page } = await visit(browser);
    await page.evaluate(() => window.connect());
    await until(page, "the upgrade", () => seen.upgraded);
    await page.evaluate(() => client.send("plain"));
    await until(page, "the echo", () => seen.messages[0] === "plain");
    await page.evaluate(() => client.close());
    equal(await until(page, "the end", () => seen.closed), "forced close", "the reason");
    await page.context().close();
  });

  await check("a refused client is told why", async () => {
    const { page } = await visit(browser);
    const told = page.waitForResponse((response) => response.status() === 401);
    await page.evaluate(() => window.connect({ query: { reject: "1" }, transports: ["polling"] }));
    equal(await (await told).json(), "rejected", "the body of the refusal");
    await until(page, "the client to give up", () => seen.error);
    await page.context().close();
  });
});
