// The page of the demo on a cluster of `a` and `b` behind a load balancer without stickiness: it shows which node answers
// and which one owns the session. `node demo.mjs --url URL [--chromium PATH]`.

import { assert, check, equal, launch, main, open, options, until } from "../browser/support.mjs";

const { url, chromium } = options("url");
const NODES = ["a", "b"];

/** What the page says, once it shows the nodes. */
const shown = () => {
  if (document.querySelector("#nodes").hidden) return null;
  const text = (id) => document.querySelector(id).textContent;
  return { entry: text("#entry"), owner: text("#owner"), sid: document.querySelector("#sid").title };
};

/** The page in one of its modes, with a live session. */
async function visit(browser, mode) {
  const page = await open(browser, `${url}#${mode}`);
  await until(page, "a session", () => document.body.dataset.state === "open");
  return page;
}

await main(async (track) => {
  const browser = track(await launch(chromium));

  await check("the page names the owner that the session id names, and a node of the cluster as the entry", async () => {
    for (const mode of ["upgrade", "polling", "websocket"]) {
      const page = await visit(browser, mode);
      const { entry, owner, sid } = await until(page, "the nodes", shown);
      equal(owner, sid.split(".")[1], `the owner in the mode ${mode}`);
      assert(NODES.includes(entry) && NODES.includes(owner), `entry ${entry}, owner ${owner}`);
      await page.context().close();
    }
  });

  await check("while it polls, the entry changes and the owner stays", async () => {
    const page = await visit(browser, "polling");
    const { owner, sid } = await until(page, "the nodes", shown);
    for (const name of NODES) {
      await until(page, `the entry ${name}`, (wanted) => document.querySelector("#entry").textContent === wanted, name);
    }
    const now = await page.evaluate(shown);
    equal([now.owner, now.sid], [owner, sid], "the session");
    await page.context().close();
  });

  await check("a WebSocket is owned by the node that it enters", async () => {
    const page = await visit(browser, "websocket");
    const { entry, owner } = await until(page, "the nodes", shown);
    equal(entry, owner, "the entry");
    await page.context().close();
  });
});
