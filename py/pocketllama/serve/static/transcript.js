// The messages of the conversation that is shown. A view is kept as long as its message, so that a change costs what it
// changes.

import { h } from "./dom.js";
import { MessageView } from "./message_view.js";

/** How many messages are drawn before the page is shown; earlier ones follow between frames. */
const FIRST = 12;
/** How long drawing earlier ones may keep the page from answering, in ms. */
const SLICE = 8;

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversation.js").Message} Message
 */

export class Transcript {
  #element;
  #actions;
  /** @type {Map<string, MessageView>} */
  #views = new Map();
  #version = 0;

  /**
   * @param {HTMLElement} element
   * @param {import("./message_view.js").Actions} actions
   */
  constructor(element, actions) {
    this.#element = element;
    this.#actions = actions;
  }

  /**
   * Show a conversation.
   * @param {Conversation} conversation
   * @param {string | undefined} running the id of the message that is being written
   * @param {boolean} anew forget what is drawn
   */
  show(conversation, running, anew) {
    const version = ++this.#version;
    const path = conversation.path();
    const children = conversation.children();
    if (anew) this.#views.clear();
    const wanted = new Set(path.map(({ id }) => id));
    for (const id of this.#views.keys()) if (!wanted.has(id)) this.#views.delete(id);
    const draw = (/** @type {Message} */ message) => {
      let view = this.#views.get(message.id);
      const siblings = children.get(message.parent) ?? [message.id];
      const { end, content } = message;
      const at = siblings.indexOf(message.id);
      const state = `${message.id === running} ${at} ${siblings.length} ${end} ${content.length}`;
      if (!view || view.message !== message)
        this.#views.set(message.id, (view = new MessageView(message, this.#actions)));
      if (view.element.dataset.state !== state) {
        view.update({ running: message.id === running, siblings });
        view.element.dataset.state = state;
      }
      return view.element;
    };
    const known = path.filter(({ id }) => this.#views.has(id)).length;
    const now = known ? path : path.slice(-FIRST);
    const earlier = path.slice(0, path.length - now.length);
    const elements = now.map(draw);
    // Only what differs is moved: an element that stays keeps its focus and its selection.
    const keep = new Set(elements);
    for (const old of [...this.#element.children]) if (!keep.has(/** @type {HTMLElement} */ (old))) old.remove();
    elements.forEach((element, i) => {
      const there = this.#element.children[i];
      if (there !== element) this.#element.insertBefore(element, there ?? null);
    });
    if (earlier.length) this.#drawEarlier(earlier, draw, version);
  }

  /**
   * @param {Message[]} messages
   * @param {(message: Message) => HTMLElement} draw
   * @param {number} version
   */
  #drawEarlier(messages, draw, version) {
    const note = h("p", { class: "earlier", role: "status" }, "Earlier messages are coming…");
    this.#element.prepend(note);
    // Views are made bit by bit, and put in twice as many at a time: each time costs a layout of everything.
    /** @type {HTMLElement[]} */
    let made = [];
    let enough = FIRST;
    const step = () => {
      if (version !== this.#version) return note.remove();
      const start = performance.now();
      while (messages.length && performance.now() - start < SLICE) {
        made.push(draw(/** @type {Message} */ (messages.pop())));
      }
      if (made.length >= enough || !messages.length) {
        note.after(...made.reverse());
        made = [];
        enough *= 2;
        this.#actions.drawn();
      }
      if (messages.length) setTimeout(step);
      else note.remove();
    };
    setTimeout(step);
  }

  /** @param {string} id */
  view(id) {
    return this.#views.get(id);
  }
}
