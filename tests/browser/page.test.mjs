// The demo's page in a real browser: people in one room, as they see it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";

import { chromium } from "playwright-core";

import { DEADLINE, Server } from "../client/server.mjs";

const SCREENSHOTS = process.env.SCREENSHOTS
  ?? fileURLToPath(new URL("../../target/screenshots", import.meta.url));
const DESKTOP = { viewport: { width: 1200, height: 800 } };
const PHONE = {
  viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true,
};

describe("the page", { timeout: 300_000 }, () => {
  let browser;
  let server;
  let people = [];

  before(async () => {
    await mkdir(SCREENSHOTS, { recursive: true });
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ],
    });
  });
  after(() => browser?.close());
  beforeEach(async () => { server = await Server.start(); });
  afterEach(async () => {
    await Promise.all(people.map((person) => person.close()));
    people = [];
    await server.kill();
  });

  const open = async (name, { device = DESKTOP, room = "lobby" } = {}) => {
    const person = await Person.open(browser, server, name, device, room);
    people.push(person);
    return person;
  };

  it("carries a conversation both ways, and to a phone", async () => {
    const [ada, bob] = [await open("Ada"), await open("Bob")];
    await ada.sees("Bob joined.");
    const carol = await open("Carol", { device: PHONE });
    await ada.sees("Carol joined.");

    await ada.says("Thirty of us are left. Is this the last valley?");
    await bob.hears("Ada", "Thirty of us are left. Is this the last valley?");
    await bob.says("The last one. Look into the lake.");
    await ada.hears("Bob", "The last one. Look into the lake.");
    await carol.hears("Bob", "The last one. Look into the lake.");
    await carol.says("I count thirty birds.\nسی مرغ");
    await ada.hears("Carol", "I count thirty birds.\nسی مرغ");
    await carol.page.locator(".own .said").waitFor();
    assert.match(await ada.page.locator("time").first().textContent(), /\d\d:\d\d/);

    for (const scheme of ["light", "dark"]) {
      await ada.screenshot(`desktop-${scheme}`, scheme);
      await carol.screenshot(`phone-${scheme}`, scheme);
    }
    const [width, shown] = await carol.page.evaluate(() =>
      [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(width <= shown, `the page is ${width} px wide on a screen of ${shown}`);
  });

  it("shows why a room refused, and lets in whoever mends it", async () => {
    const ada = await open("");
    await ada.page.fill("#room", "court");
    await ada.page.click("#join");
    const notice = ada.page.locator("#notice");
    await notice.filter({ hasText: "unauthorized" }).waitFor();
    await ada.screenshot("refused");

    await ada.page.locator("#name:focus").waitFor();
    await ada.page.keyboard.type("Ada");
    await ada.page.keyboard.press("Enter");
    await ada.sees("You are in court as Ada.");
    await notice.waitFor({ state: "hidden" });
    const bob = await open("Bob", { room: "court" });
    await bob.says("The door is open");
    await ada.hears("Bob", "The door is open");
  });

  it("survives a restart of the server, and keeps the draft", async () => {
    const [ada, bob] = [await open("Ada"), await open("Bob")];
    await ada.page.fill("#body", "half a thou");
    await server.stop();
    await ada.is("reconnecting");
    await ada.page.press("#body", "Enter"); // Has nowhere to go, so it must not go.
    await ada.page.locator("#notice").filter({ hasText: "draft is kept" }).waitFor();
    await ada.screenshot("reconnecting");

    await server.start();
    await ada.is("connected");
    await ada.page.locator("#send[aria-disabled=false]").waitFor();
    assert.equal(await ada.page.inputValue("#body"), "half a thou");
    await bob.says("Are you there?"); // He is back in the room too, when it has repeated this.
    await ada.page.press("#body", "End");
    await ada.page.keyboard.type("ght");
    await ada.page.press("#body", "Enter");
    await bob.hears("Ada", "half a thought");
    assert.equal(await ada.page.inputValue("#body"), "");
  });

  it("notices a server that no longer answers, by its heartbeat", async () => {
    const ada = await open("Ada");
    const heartbeat = ada.sent("heartbeat");
    server.freeze();
    await ada.page.clock.fastForward(30_000);
    await heartbeat;
    await ada.is("connected"); // It may yet be answered.
    await ada.page.clock.fastForward(30_000);
    await ada.is("reconnecting");
    server.thaw();
    await ada.is("connected");
    await ada.says("back again");
  });

  it("goes on for hours while its heartbeats are answered", async () => {
    const ada = await open("Ada");
    for (let beat = 0; beat < 5; beat += 1) {
      const answered = ada.received("phoenix");
      await ada.page.clock.fastForward(30_000);
      await answered;
    }
    await ada.is("connected");
    assert.equal(ada.connections, 1);
  });

  it("is back in a room whose channel crashed", async () => {
    const [ada, bob] = [await open("Ada"), await open("Bob")];
    const outcome = await ada.page.evaluate(() =>
      channel.push("no such event", {}).catch((reason) => reason));
    assert.equal(outcome, "the channel crashed");
    await ada.says("I stumbled");
    await bob.hears("Ada", "I stumbled");
    assert.equal(ada.connections, 1);
  });

  it("ignores a person at a click, and hears her again at another", async () => {
    const [ada, bob] = [await open("Ada"), await open("Bob")];
    const mallory = await open("Mallory");
    await mallory.says("Buy feathers!");
    await ada.hears("Mallory", "Buy feathers!");
    await ada.page.getByRole("button", { name: "Mallory: ignore" }).first().click();
    await ada.said("Mallory", "Buy feathers!").waitFor({ state: "hidden" });

    await mallory.says("Cheap feathers!");
    await bob.hears("Mallory", "Cheap feathers!");
    const unheard = ada.said("Mallory", "Cheap feathers!");
    await unheard.waitFor({ state: "attached" });
    assert.ok(await unheard.isHidden());
    await ada.page.getByRole("button", { name: "Hear Mallory again" }).click();
    await ada.hears("Mallory", "Buy feathers!");
    await ada.hears("Mallory", "Cheap feathers!");
  });

  it("shows text as text, whoever it comes from", async () => {
    const markup = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>";
    const [ada, mallory] = [await open("Ada"), await open("<i>Mallory</i>")];
    await ada.sees("<i>Mallory</i> joined.");
    await mallory.says(markup);
    await ada.hears("<i>Mallory</i>", markup);
    assert.equal(await ada.page.locator("#log img, #log b, #log i").count(), 0);
    assert.equal(await ada.page.title(), "Simurgh");
  });

  it("remembers name, room and draft over a reload", async () => {
    const ada = await open("Ada", { room: "court" });
    await ada.page.fill("#body", "not yet said");
    await ada.page.reload();
    await ada.sees("You are in court as Ada.");
    assert.equal(await ada.page.inputValue("#name"), "Ada");
    assert.equal(await ada.page.inputValue("#room"), "court");
    assert.equal(await ada.page.inputValue("#body"), "not yet said");
  });

  it("can be used without a pointer", async () => {
    const ada = await open("");
    const { page } = ada;
    const focused = () => page.evaluate(() => document.activeElement.id);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "name");
    await page.keyboard.type("Ada");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "room");
    await page.keyboard.press("Enter");
    await ada.sees("You are in lobby as Ada.");
    assert.equal(await focused(), "body");
    await page.keyboard.type("no hands");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two lines");
    await page.keyboard.press("Enter");
    await ada.hears("Ada", "no hands\ntwo lines");
  });
});

/** Somebody with the page open, in a browser profile of their own. */
class Person {
  connections = 0;
  #errors = [];
  #elsewhere = [];

  static async open(browser, server, name, device, room) {
    const remembered = [{ name: "simurgh.name", value: name }];
    const storageState = {
      cookies: [], origins: [{ origin: server.origin, localStorage: remembered }],
    };
    const context = await browser.newContext({ ...device, storageState });
    context.setDefaultTimeout(DEADLINE);
    const person = new Person();
    person.context = context;
    person.page = await context.newPage();
    await person.page.clock.install(); // Runs as ever, and can be put forward.
    person.page.on("websocket", (webSocket) => {
      person.connections += 1;
      person.webSocket = webSocket;
    });
    person.page.on("pageerror", (error) => person.#errors.push(error.stack));
    person.page.on("request", (request) => {
      if (!/^data:/.test(request.url()) && new URL(request.url()).origin !== server.origin) {
        person.#elsewhere.push(request.url());
      }
    });
    await person.page.goto(`${server.origin}/#${room}`);
    await person.is("connected");
    await person.sees(name ? `You are in ${room} as ${name}.` : `You are in ${room}.`);
    return person;
  }

  /** Waits for a state of the connection: connected, reconnecting, offline. */
  is(state) {
    return this.page.locator(`#state[data-state=${state}]`).waitFor();
  }

  /** Waits for a line that nobody said. */
  sees(line) {
    return this.page.locator("#log .system").getByText(line, { exact: true }).waitFor();
  }

  /** Says something, once in the room, and waits until the room has repeated it. */
  async says(text) {
    await this.page.fill("#body", text);
    await this.page.locator("#send[aria-disabled=false]").waitFor();
    await this.page.press("#body", "Enter");
    await this.page.locator(".own .said").filter({ hasText: text }).last().waitFor();
  }

  /** The bubble with what `name` said. */
  said(name, text) {
    return this.page.locator(`[data-from=${JSON.stringify(name)}] .said`)
      .filter({ hasText: text }).last();
  }

  async hears(name, text) {
    await this.said(name, text).waitFor();
    assert.equal(await this.said(name, text).textContent(), text);
  }

  /** Waits for a frame to the server, or from it, with a text in it. */
  sent(text) {
    return this.#frame("framesent", text);
  }

  received(text) {
    return this.#frame("framereceived", text);
  }

  #frame(event, text) {
    return this.webSocket.waitForEvent(event, {
      predicate: ({ payload }) => String(payload).includes(text), timeout: DEADLINE,
    });
  }

  async screenshot(name, colorScheme = "light") {
    await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }

  /** Ends the visit, which must have thrown nothing and fetched nothing from anywhere else. */
  async close() {
    await this.context.close();
    assert.deepEqual(this.#errors, []);
    assert.deepEqual(this.#elsewhere, []);
  }
}
