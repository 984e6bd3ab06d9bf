// The page: what is shown, and what happens when something is done to it. The rest of the files know nothing of it.

import { Api } from "./api.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation, fromExport, newId, toExport } from "./conversation.js";
import { byId } from "./dom.js";
import { download, fileName } from "./files.js";
import { Generation } from "./generation.js";
import { Library } from "./library.js";
import { Notice } from "./notice.js";
import { Follower } from "./scroll.js";
import { parse } from "./settings.js";
import { SettingsDialog } from "./settings_dialog.js";
import { Sidebar } from "./sidebar.js";
import { openStore } from "./store.js";
import { Toast } from "./toast.js";
import { Transcript } from "./transcript.js";
import { welcome } from "./welcome.js";

/** @typedef {import("./conversation.js").Message} Message */

const SETTINGS = "pocketllama.settings";
const KEY = "pocketllama.key";
/** The page without a conversation in its address. */
const HOME = location.pathname + location.search;

/**
 * A value of the browser's storage; null where there is none, or no storage.
 * @param {() => string | null} read
 */
function stored(read) {
  try {
    return read();
  } catch {
    return null;
  }
}

class Page {
  settings = parse(stored(() => localStorage.getItem(SETTINGS)));
  api = new Api({ base: new URL(".", document.baseURI), key: stored(() => sessionStorage.getItem(KEY)) ?? "" });
  conversation = new Conversation();
  leaving = false;
  /** The answers under way, by their conversation. @type {Map<string, Generation>} */
  running = new Map();

  title = byId("title", HTMLElement);
  model = byId("model", HTMLSelectElement);
  announcer = byId("announcer", HTMLElement);
  menu = byId("menu", HTMLElement);
  follower = new Follower(byId("scroller", HTMLElement), byId("to-end", HTMLButtonElement));
  notice = new Notice(byId("notice", HTMLElement));
  toast = new Toast(byId("toast", HTMLElement));
  connection = new Connection(this.api, (news) => this.hear(news));
  transcript = new Transcript(byId("transcript", HTMLElement), {
    retry: (message) => this.answer(message.parent),
    edit: (message, content) => this.say(content, message.parent),
    choose: (id) => this.choose(id),
    continues: () => this.chosen?.completes ?? false,
    goOn: (message) => this.answer(message.id),
    drawn: () => this.follower.grown(),
  });
  composer = new Composer(
    {
      form: byId("composer", HTMLFormElement),
      area: byId("prompt", HTMLTextAreaElement),
      send: byId("send", HTMLButtonElement),
      stop: byId("stop", HTMLButtonElement),
    },
    {
      send: (text) => this.say(text, this.conversation.head),
      stop: () => this.stop(),
      editLast: () => {
        const last = this.conversation
          .path()
          .filter(({ role }) => role === "user")
          .at(-1);
        if (last) this.transcript.view(last.id)?.edit();
      },
    },
  );
  sidebar = new Sidebar({
    nav: byId("sidebar", HTMLElement),
    list: byId("conversations", HTMLElement),
    scrim: byId("scrim", HTMLElement),
    opener: byId("open-sidebar", HTMLButtonElement),
    closer: byId("close-sidebar", HTMLButtonElement),
  });
  dialog = new SettingsDialog(this.settings, {
    changed: () => this.settingsChanged(),
    keyChanged: (key) => {
      this.api.key = key;
      stored(() => (sessionStorage.setItem(KEY, key), null));
      void this.connection.check();
    },
  });

  /** @param {Library} library */
  constructor(library) {
    this.library = library;
    this.dialog.key = this.api.key;
    byId("kept", HTMLElement).textContent = library.lasting
      ? "Kept in this browser only."
      : "This browser keeps nothing: conversations end with this tab.";
    this.#listen();
  }

  #listen() {
    /** @type {(id: string, act: () => void) => void} */
    const on = (id, act) => byId(id, HTMLElement).addEventListener("click", act);
    on("open-settings", () => this.dialog.open());
    on("rename", () => this.rename());
    on(
      "export",
      () => (this.menu.hidePopover(), download(fileName(this.conversation.name), toExport([this.conversation]))),
    );
    on("delete", () => this.remove());
    on("export-all", async () => download("pocketllama-conversations.json", toExport(await this.library.all())));
    on("delete-all", () => this.removeAll());
    byId("import", HTMLInputElement).addEventListener("change", ({ target }) =>
      this.import(/** @type {HTMLInputElement} */ (target)),
    );
    document.querySelector(".skip")?.addEventListener("click", (event) => {
      event.preventDefault(); // the address belongs to the conversations
      this.composer.focus();
    });
    this.model.addEventListener("change", () => {
      this.settings.model = this.model.value;
      this.settingsChanged();
      this.show();
    });
    this.menu.addEventListener("keydown", (event) => arrows(event, this.menu));
    this.menu.addEventListener("beforetoggle", () => {
      // Where the menu will be is known before it is there: a "toggle" comes when a frame may have shown it elsewhere.
      const { right, bottom } = byId("open-menu", HTMLElement).getBoundingClientRect();
      this.menu.style.setProperty("--top", `${bottom}px`);
      this.menu.style.setProperty("--right", `${right}px`);
    });
    document.addEventListener("keydown", (event) => {
      const busy =
        event.isComposing || event.defaultPrevented || this.dialog.dialog.open || this.menu.matches(":popover-open");
      if (event.key === "Escape" && !busy) this.stop();
    });
    addEventListener("hashchange", () => this.open());
    addEventListener("pagehide", () => {
      this.leaving = true;
      this.library.saveLive();
    });
    addEventListener("pageshow", () => (this.leaving = false));
    document.addEventListener("visibilitychange", () => document.hidden && this.library.saveLive());
  }

  /** Show the conversation that the address names. */
  async open() {
    const id = /^#\/([\w-]{1,64})$/.exec(location.hash)?.[1];
    let found;
    try {
      found = id === undefined ? undefined : await this.library.open(id);
    } catch (error) {
      this.notice.show("This conversation cannot be read.", error instanceof Error ? error.message : String(error));
    }
    this.conversation = found ?? new Conversation();
    if (!found && location.hash) history.replaceState(null, "", HOME);
    this.show(true);
    this.follower.toEnd();
    this.composer.open(found ? this.conversation.id : "");
    this.composer.focusIfKeyboard();
    await this.list();
  }

  /** What can be used now. */
  get chosen() {
    const { models } = this.connection;
    return models.find(({ id }) => id === this.settings.model) ?? models[0];
  }

  /** @param {boolean} [anew] */
  show(anew = false) {
    const { conversation, chosen } = this;
    const generation = this.running.get(conversation.id);
    const empty = conversation.head === null;
    this.transcript.show(conversation, generation?.message.id, anew);
    const element = byId("welcome", HTMLElement);
    if (empty) {
      welcome(element, chosen, (text) => {
        this.composer.text = text;
        this.composer.focus();
      });
    }
    element.hidden = !empty || this.connection.state === "asking";
    this.title.textContent = conversation.name;
    byId("open-menu", HTMLElement).hidden = empty;
    document.title = empty ? "pocketllama" : `${conversation.name} · pocketllama`;
    const placeholder = chosen?.completes ? (empty ? "Write a beginning" : "Write what comes next") : "Write a message";
    this.composer.update({ answering: generation !== undefined, able: chosen !== undefined, placeholder });
    this.showContext();
    this.follower.grown();
  }

  /** How much of the context the conversation fills, as the last answer's figures have it. */
  showContext() {
    const stats = this.conversation.path().findLast((message) => message.stats?.prompt !== undefined)?.stats;
    const element = byId("context", HTMLElement);
    element.hidden = stats === undefined;
    if (!stats) return;
    const used = (stats.prompt ?? 0) + (stats.completion ?? 0);
    const words = (/** @type {number} */ n) => n.toLocaleString("en");
    element.textContent = stats.context
      ? `${words(used)} of ${words(stats.context)} tokens of context`
      : `${words(used)} tokens of context`;
    element.classList.toggle("full", stats.context !== undefined && used > 0.8 * stats.context);
  }

  async list() {
    try {
      const summaries = await this.library.list();
      this.sidebar.show(
        summaries,
        this.conversation.head === null ? undefined : this.conversation.id,
        new Set(this.running.keys()),
      );
    } catch (error) {
      this.storageFailed(error);
    }
  }

  /**
   * Add what the reader says behind a message, and have it answered.
   * @param {string} content
   * @param {string | null} parent
   */
  say(content, parent) {
    const { conversation } = this;
    const first = conversation.head === null;
    const message = conversation.add({ role: "user", content, parent });
    if (first) history.pushState(null, "", `#/${conversation.id}`);
    this.composer.open(conversation.id);
    this.answer(message.id);
  }

  /**
   * Have a message answered.
   * @param {string | null} parent
   */
  answer(parent) {
    const { conversation, chosen, api, settings } = this;
    this.running.get(conversation.id)?.stop();
    if (!chosen || parent === null) return;
    const message = conversation.add({ role: "assistant", parent, model: chosen.id });
    const view = () => (this.conversation === conversation ? this.transcript.view(message.id) : undefined);
    const generation = new Generation(
      { api, model: chosen, settings, conversation, message },
      {
        grew: () => {
          view()?.grow();
          this.library.saveSoon(conversation);
        },
        waits: (why) => view()?.wait(why),
        ended: (error) => this.ended(generation, error),
      },
    );
    this.running.set(conversation.id, generation);
    this.library.hold(conversation);
    this.show();
    this.follower.toEnd();
    this.composer.focusIfKeyboard();
    this.announcer.textContent = "Answering";
    void this.library.save(conversation).then(() => this.list());
    void generation.run();
  }

  /**
   * @param {Generation} generation
   * @param {unknown} error
   */
  ended(generation, error) {
    const { conversation, message } = generation;
    if (this.leaving) {
      // The browser has cut the connection because the page goes: that is no failure of the server's.
      delete message.end;
      delete message.failure;
    }
    conversation.updated = Date.now();
    if (this.running.get(conversation.id) === generation) {
      this.running.delete(conversation.id);
      this.library.release(conversation);
    }
    if (this.conversation === conversation) {
      this.show();
      const { failure, end } = message;
      const said = this.transcript.view(message.id)?.answer?.element.textContent ?? "";
      this.announcer.textContent = failure
        ? `${failure.title}. ${failure.cause} ${failure.remedy.replaceAll("`", "")}`
        : `${end === "stopped" ? "Stopped. " : ""}Answer: ${said.slice(0, 2000)}`;
    }
    void this.library.save(conversation).then(() => this.list());
    if (error) void this.connection.check();
  }

  stop() {
    this.running.get(this.conversation.id)?.stop();
  }

  /** @param {string} id */
  choose(id) {
    this.stop();
    this.conversation.choose(id);
    this.show();
    const view = this.transcript.view(id);
    view?.element.scrollIntoView({ block: "nearest" });
    /** @type {HTMLElement | null | undefined} */ (
      view?.element.querySelector(".versions button:not(:disabled)")
    )?.focus();
    void this.library.save(this.conversation);
  }

  rename() {
    this.menu.hidePopover();
    const { conversation, title } = this;
    const input = document.createElement("input");
    Object.assign(input, { value: conversation.name, maxLength: 200 });
    input.setAttribute("aria-label", "Name of the conversation");
    let done = false;
    const end = (/** @type {boolean} */ keep) => {
      if (done) return;
      done = true;
      if (keep) conversation.title = input.value.trim();
      input.replaceWith(title);
      this.show();
      byId("open-menu", HTMLElement).focus();
      if (keep) void this.library.save(conversation).then(() => this.list());
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => end(true));
    title.replaceWith(input);
    input.select();
  }

  async remove() {
    this.menu.hidePopover();
    const { conversation } = this;
    this.stop();
    await this.library.remove(conversation.id);
    history.pushState(null, "", HOME);
    await this.open();
    this.toast.show(`“${conversation.name}” was deleted.`, async () => {
      await this.library.restore(conversation);
      location.hash = `#/${conversation.id}`;
    });
  }

  async removeAll() {
    const all = await this.library.all();
    for (const generation of this.running.values()) generation.stop();
    await this.library.clear();
    this.dialog.dialog.close();
    history.pushState(null, "", HOME);
    await this.open();
    this.toast.show(
      `${all.length} ${all.length === 1 ? "conversation was" : "conversations were"} deleted.`,
      async () => {
        for (const conversation of all) await this.library.restore(conversation);
        await this.list();
      },
    );
  }

  /** @param {HTMLInputElement} input */
  async import(input) {
    const file = input.files?.[0];
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    try {
      const conversations = fromExport(await file.text());
      const known = new Set((await this.library.list()).map(({ id }) => id));
      for (const conversation of conversations) {
        if (known.has(conversation.id)) conversation.id = newId(); // beside the one that is there, not over it
        await this.library.restore(conversation);
      }
      await this.list();
      this.dialog.dialog.close();
      this.toast.show(
        `${conversations.length} ${conversations.length === 1 ? "conversation" : "conversations"} imported.`,
      );
    } catch (error) {
      this.dialog.dialog.close();
      this.toast.show(`“${file.name}” was not imported: ${error instanceof Error ? error.message : error}.`);
    }
  }

  settingsChanged() {
    stored(() => (localStorage.setItem(SETTINGS, JSON.stringify(this.settings)), null));
    const { theme } = this.settings;
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  /** @param {import("./connection.js").News} news */
  hear({ state, models, message }) {
    this.model.replaceChildren(...models.map(({ id }) => new Option(id, id)));
    if (this.chosen) this.model.value = this.chosen.id;
    this.model.disabled = models.length < 2;
    this.model.title =
      models.length < 2 ? "The server has one model: pocketllama serve -m MODEL -m MODEL brings more." : "";
    if (state === "up") this.notice.relieve("The server is there again.");
    else if (state === "away")
      this.notice.show(
        "The server does not answer.",
        "Start it again with `pocketllama serve`; this page will notice.",
      );
    else if (state === "empty")
      this.notice.show("The server has no model.", "Start it with one: `pocketllama serve -m MODEL`.");
    else if (state === "key") {
      this.notice.show("The server asks for a key.", "It was started with `--api-key`.", {
        label: "Enter it",
        act: () => this.dialog.open("key"),
      });
    } else this.notice.show("The server’s models cannot be listed.", message ?? "");
    this.show();
  }

  /** @param {unknown} error */
  storageFailed(error) {
    const full = error instanceof DOMException && error.name === "QuotaExceededError";
    this.notice.show(
      full ? "The browser’s storage is full." : "The browser does not keep the conversation.",
      full ? "Delete conversations, or export them first." : "Export it before you leave this page.",
    );
  }

  /**
   * Another tab has changed a conversation, or all of them.
   * @param {string | undefined} id
   */
  changedElsewhere(id) {
    const mine = id === undefined || id === this.conversation.id;
    if (mine && this.conversation.head !== null && !this.running.has(this.conversation.id)) void this.open();
    else void this.list();
  }
}

/**
 * The arrow keys in a menu.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} menu
 */
function arrows(event, menu) {
  const items = [...menu.querySelectorAll("button")];
  const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  items.at(to % items.length)?.focus();
}

/** @type {Page | undefined} */
let page;
const library = new Library(await openStore(), {
  changed: (id) => page?.changedElsewhere(id),
  failed: (error) => page?.storageFailed(error),
});
page = new Page(library);
await page.open();
await page.connection.check();
