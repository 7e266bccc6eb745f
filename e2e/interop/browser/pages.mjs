// The pages of the examples in a real browser, with pictures of them:
//
//   node pages.mjs --metrics URL --chat URL --auth URL --static_site URL --axum_app URL --out DIR [--chromium PATH]

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Socket } from "engine.io-client";

import { assert, check, equal, launch, LIMIT, main, until } from "./support.mjs";

const NAMES = ["metrics", "chat", "auth", "static_site", "axum_app", "out", "chromium"];
const { values: options } = parseArgs({ options: Object.fromEntries(NAMES.map((name) => [name, { type: "string" }])) });
mkdirSync(options.out, { recursive: true });

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** A page of an example, and what it complained of. */
async function visit(browser, url, settings = DESKTOP) {
  const context = await browser.newContext(settings);
  context.setDefaultTimeout(LIMIT);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(url, { timeout: LIMIT });
  return { page, complaints };
}

const shoot = (page, name) => page.screenshot({ path: join(options.out, `${name}.png`), fullPage: true, timeout: LIMIT });

async function fits(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert(wide <= 0, `the page is ${wide} px too wide`);
}

const shows = (page, selector, text) =>
  until(page, `${text} in ${selector}`, ([selector, text]) => document.querySelector(selector)?.textContent.includes(text), [selector, text]);

/** Clients that keep talking, outside the browser. */
function talkers(url) {
  const sockets = ["websocket", "websocket", "websocket", "polling", "polling"].map((transport) => {
    const socket = new Socket(url, { transports: [transport] });
    socket.on("open", () => socket.send("x".repeat(200)));
    socket.on("message", (text) => setTimeout(() => socket.send(text), 5));
    return socket;
  });
  return () => sockets.forEach((socket) => socket.close());
}

/** The number that a tile of the dashboard shows, its unit apart. */
const tile = (title) => {
  const section = [...document.querySelectorAll("section")].find((section) => section.querySelector("h2").textContent === title);
  return section?.querySelector(".value")?.firstChild.textContent;
};

await main(async (track) => {
  const browser = track(await launch(options.chromium));

  await check("metrics: the page shows clients, rates and reasons, on a desktop and on a phone", async () => {
    await new Promise((done) => {
      // Somebody who has left, and a request that was refused.
      const socket = new Socket(options.metrics, { transports: ["websocket"] });
      socket.on("open", () => socket.close());
      socket.on("close", done);
    });
    await fetch(`${options.metrics}/engine.io/?EIO=4&transport=polling&sid=unknown`);
    const stop = talkers(options.metrics);
    for (const [name, settings] of [["desktop", DESKTOP], ["phone", PHONE], ["desktop-dark", { ...DESKTOP, colorScheme: "dark" }]]) {
      const { page, complaints } = await visit(browser, options.metrics, settings);
      await page.evaluate(`window.tile = ${tile}`);
      await until(page, "five clients", () => tile("Clients") === "5");
      await until(page, "messages per second", () => Number(tile("Messages in")) > 10);
      await until(page, "some seconds of lines", () => document.querySelector("polyline").points.numberOfItems >= 6);
      await shows(page, "main", "transport close");
      await fits(page);
      await shoot(page, `metrics-${name}`);
      equal(complaints, [], "complaints");
      await page.context().close();
    }
    stop();
  });

  await check("chat: two people in a room hear each other, and who leaves", async () => {
    const people = [];
    for (const [name, settings] of [["Ada", DESKTOP], ["Ben", PHONE]]) {
      const visitor = await visit(browser, options.chat, settings);
      people.push(visitor);
      await visitor.page.fill("#name", name);
      await visitor.page.click("#door button");
      await shows(visitor.page, "#log", `${name} is here`);
    }
    const [ada, ben] = people;
    await ben.page.fill("#text", "hello from the phone");
    await ben.page.click("#speech button");
    for (const { page } of people) await shows(page, "#log", "Ben: hello from the phone");
    for (const [name, { page, complaints }] of [["desktop", ada], ["phone", ben]]) {
      await fits(page);
      await shoot(page, `chat-${name}`);
      equal(complaints, [], "complaints");
    }
    await ben.page.context().close();
    await shows(ada.page, "#log", "Ben has left");
    await ada.page.context().close();
  });

  await check("auth: refused with the reason, then logged in and greeted", async () => {
    const { page } = await visit(browser, options.auth, PHONE);
    await shows(page, "#log", '401: {"reason":"log in first"}');
    await page.fill("input", "Ada Lovelace");
    await page.click("button");
    await shows(page, "#log", "hello, Ada Lovelace");
    await fits(page);
    await page.context().close();
  });

  await check("static_site: the clock runs", async () => {
    const { page, complaints } = await visit(browser, options.static_site);
    const first = await until(page, "a time", () => /\d+:\d\d:\d\d/.exec(document.querySelector("#clock").textContent)?.[0]);
    await until(page, "another time", (first) => !document.querySelector("#clock").textContent.includes(first), first);
    equal(complaints, [], "complaints");
    await page.context().close();
  });

  await check("axum_app: both WebSockets talk, and the session is counted", async () => {
    const { page, complaints } = await visit(browser, options.axum_app);
    await shows(page, "#log", "Engine.IO: visits: 1");
    await shows(page, "#log", "/ws: an echo of the app's own WebSocket");
    await page.reload();
    await shows(page, "#log", "Engine.IO: visits: 2");
    equal(complaints, [], "complaints");
    await page.context().close();
  });
});
