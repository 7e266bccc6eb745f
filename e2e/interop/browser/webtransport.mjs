// The official client over WebTransport in a real browser, against the example `echo`:
//
//   node webtransport.mjs --url http://127.0.0.1:3000/ --quick http://127.0.0.1:3001/ [--chromium PATH]
//
// The second server has a short ping interval. The addresses and the certificates of the UDP sockets are in the logs of
// the servers.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFile } from "node:fs/promises";

import { assert, check, equal, launch, main, observe, open, options, until } from "./support.mjs";

const { url, quick, chromium } = options("url", "quick");

const ALL = ["polling", "websocket", "webtransport"];
const FAREWELLS = Number(process.env.FAREWELLS ?? 200); // sessions that end with a message
const AT_ONCE = 8; // of them
const FALLBACK = 1_000; // ms in which a WebSocket takes the place of WebTransport; 200 of them are the client's own

/** The port and the hash of the certificate, which the server has printed. */
async function listener(url) {
  const log = await readFile(process.env[`LOG_OF_${new URL(url).origin}`], "utf8");
  const [, port, hash] = /webtransport on \S+:(\d+), certificate (\w+)/.exec(log) ?? [];
  assert(hash, "the server does not listen for WebTransport");
  return { port, hash };
}

const TEXTS = ["hello", "", "Grüße, 電話, ☎️ 👩‍🚀", "line\nline\r\n\ttab", '4"quoted" \\ back', "x".repeat(100_000)];

await main(async (track) => {
  const browser = track(await launch(chromium, { quic: true }));
  const { port, hash } = await listener(url);

  /** A page with a client that has these transports, once its session is open. */
  async function visit(transports, at = { port, hash }, server = url) {
    const page = await open(browser, server);
    await page.evaluate(
      ([transports, { port, hash }]) => {
        const value = Uint8Array.from(hash.match(/../g), (digits) => parseInt(digits, 16));
        const webtransport = { port, serverCertificateHashes: [{ algorithm: "sha-256", value }] };
        window.began = performance.now();
        connect({ transports, transportOptions: { webtransport } });
        client.binaryType = "arraybuffer"; // before the stream opens, which keeps it
        client.on("open", () => (window.opened = performance.now() - began));
        client.on("upgrade", () => (window.moved = performance.now() - began));
      },
      [transports, at],
    );
    await until(page, "the session", () => seen.opened);
    return page;
  }

  await check("text of every kind comes back", async () => {
    const page = await visit(["webtransport"]);
    equal(await page.evaluate(() => seen.transports), ["webtransport"], "transports");
    for (const [at, text] of TEXTS.entries()) {
      await page.evaluate((text) => client.send(text), text);
      await until(page, `the echo of ${text.slice(0, 20)}`, (n) => seen.messages.length === n, at + 1);
    }
    equal(await page.evaluate(() => seen.messages.map((text) => text ?? "")), TEXTS, "echoes");
    await page.context().close();
  });

  await check("binary of every kind and a megabyte come back", async () => {
    const page = await visit(["webtransport"]);
    const different = await page.evaluate(async () => {
      const all = Uint8Array.from({ length: 256 }, (_, n) => n);
      const large = Uint8Array.from({ length: 1_000_000 }, (_, n) => (n * n) / 7);
      const different = [];
      for (const kind of [all, all.subarray(10, 20), large, new Uint8Array(126), new Uint8Array(65_536)]) {
        client.send(kind);
        const echo = new Uint8Array(await new Promise((done) => client.once("message", done)));
        if (echo.length !== kind.length || echo.some((byte, at) => byte !== kind[at])) different.push([kind.length, echo.length]);
      }
      // The client would send an empty one as a packet of no bytes, which no server takes, but it reads the text form.
      client.send("empty-binary");
      const empty = await new Promise((done) => client.once("message", done));
      if (!(empty instanceof ArrayBuffer) || empty.byteLength !== 0) different.push(["empty", String(empty)]);
      return different;
    });
    equal(different, [], "echoes that differ, by their lengths");
    await page.context().close();
  });

  await check("1,000 messages sent at once come back in order", async () => {
    const page = await visit(["webtransport"]);
    await page.evaluate(() => {
      for (let n = 0; n < 1_000; n++) client.send(String(n));
    });
    await until(page, "1,000 echoes", () => seen.messages.length >= 1_000);
    equal(await page.evaluate(() => seen.messages.map(Number)), Array.from({ length: 1_000 }, (_, n) => n), "order");
    await page.context().close();
  });

  for (const transports of [["polling", "webtransport"], ALL]) {
    await check(`${transports.join(", ")}: the session moves while messages flow, and loses none`, async () => {
      const page = await visit(transports);
      await page.evaluate(() => {
        window.sent = 0;
        const timer = setInterval(() => {
          client.send(String(sent++));
          if (sent >= 40 && seen.upgraded) clearInterval(timer);
        }, 2);
      });
      await until(page, "the upgrade", () => seen.upgraded);
      await until(page, "all echoes", () => sent >= 40 && seen.messages.length === sent);
      // The official client tries the WebSocket 200 ms later, and a busy machine may take longer for the handshakes of QUIC.
      const [first, last] = await page.evaluate(() => seen.transports);
      assert(first === "polling" && transports.slice(1).includes(last), `moved from ${first} to ${last}`);
      const echoes = await page.evaluate(() => seen.messages.map(Number));
      equal(echoes, echoes.map((_, at) => at), "order");
      await page.context().close();
    });
  }

  await check("a UDP port that answers nothing costs a moment, and the session moves to WebSocket", async () => {
    const silent = createSocket("udp4").bind(0, "127.0.0.1");
    await once(silent, "listening");
    const page = await visit(ALL, { port: silent.address().port, hash });
    await until(page, "the upgrade", () => seen.upgraded);
    equal(await page.evaluate(() => seen.transports), ["polling", "websocket"], "transports");
    const moved = await page.evaluate(() => moved);
    console.log(`# WebSocket after ${Math.round(moved)} ms`);
    assert(moved < FALLBACK, `the upgrade took ${moved} ms`);
    await page.context().close();
    silent.close();
  });

  await check("a certificate that the page does not expect is none, and the session moves to WebSocket", async () => {
    const page = await visit(ALL, { port, hash: "00".repeat(32) });
    await until(page, "the upgrade", () => seen.upgraded);
    equal(await page.evaluate(() => seen.transports), ["polling", "websocket"], "transports");
    await page.context().close();
  });

  await check("either side closes, and both know why", async () => {
    const observer = await observe(url);
    const page = await visit(["webtransport"]);
    await page.evaluate(() => client.send("close-me"));
    equal(await until(page, "the end", () => seen.closed), "transport close", "the reason of a close by the server");
    equal(await observer.gone(await page.evaluate(() => seen.sid)), "server disconnect", "the server's reason");
    await page.context().close();

    const other = await visit(["webtransport"]);
    await other.evaluate(() => client.close());
    equal(await until(other, "the end", () => seen.closed), "forced close", "the reason of a close by the client");
    equal(await observer.gone(await other.evaluate(() => seen.sid)), "transport close", "the server's reason");
    await other.context().close();

    const left = await visit(["webtransport"]);
    const sid = await left.evaluate(() => seen.sid);
    await left.close();
    equal(await observer.gone(sid), "transport close", "the server's reason for a page that is gone");
    await left.context().close();
    observer.close();
  });

  await check("heartbeats keep a session, direct or moved", async () => {
    const at = await listener(quick);
    for (const transports of [["webtransport"], ["polling", "webtransport"]]) {
      const page = await visit(transports, at, quick);
      await until(page, "ten pings", () => seen.pings >= 10 && client.transport.name === "webtransport");
      await page.evaluate(() => client.send("still"));
      await until(page, "the echo", () => seen.messages.includes("still"));
      equal(await page.evaluate(() => seen.closed), null, "the end");
      await page.context().close();
    }
  });

  await check(`nothing is lost of what is sent just before the server closes, ${FAREWELLS} times`, async () => {
    const page = await visit(["webtransport"]);
    const lost = await page.evaluate(async ([count, atOnce, { port, hash }]) => {
      const value = Uint8Array.from(hash.match(/../g), (digits) => parseInt(digits, 16));
      const webtransport = { port, serverCertificateHashes: [{ algorithm: "sha-256", value }] };
      let lost = 0;
      let begun = 0;
      const worker = async () => {
        while (begun < count) {
          const text = `bye ${begun++}`;
          const socket = eio(location.origin, { transports: ["webtransport"], transportOptions: { webtransport } });
          const heard = [];
          socket.on("message", (text) => heard.push(text));
          const closed = new Promise((done) => socket.on("close", done));
          socket.on("open", () => {
            socket.send(text);
            socket.send("close-me");
          });
          await closed;
          if (heard[0] !== text) lost += 1;
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      return lost;
    }, [FAREWELLS, AT_ONCE, { port, hash }]);
    equal(lost, 0, "messages lost");
    await page.context().close();
  });

  await check("a page moves from polling to WebTransport quickly", async () => {
    const times = [];
    for (let n = 0; n < 11; n++) {
      const page = await visit(["polling", "webtransport"]);
      await until(page, "the upgrade", () => seen.upgraded);
      times.push(await page.evaluate(() => moved - opened));
      await page.context().close();
    }
    times.sort((a, b) => a - b);
    console.log(`# from the open packet to the upgrade, in ms: ${times.map(Math.round).join(" ")}`);
    assert(times[5] < FALLBACK, `the median is ${times[5]} ms`);
  });
});
