// Where the reader writes. Enter sends, Shift-Enter makes a line; on a touch screen, whose keyboard has no Shift-Enter,
// Enter makes a line and the button sends.

import { fit } from "./message_view.js";

const DRAFTS = "pocketllama.drafts";

export class Composer {
  #area;
  #send;
  #stop;
  #touch = matchMedia("(pointer: coarse) and (hover: none)");
  #answering = false;
  #able = false;
  /**
   * What was written and not sent, by conversation; "" is the new one.
   * @type {Record<string, string>}
   */
  #drafts = {};
  #id = "";

  /**
   * @param {{
   *   form: HTMLFormElement, area: HTMLTextAreaElement, send: HTMLButtonElement, stop: HTMLButtonElement,
   * }} elements
   * @param {{ send: (text: string) => void, stop: () => void, editLast: () => void }} actions
   */
  constructor({ form, area, send, stop }, actions) {
    this.#area = area;
    this.#send = send;
    this.#stop = stop;
    this.actions = actions;
    try {
      Object.assign(this.#drafts, JSON.parse(sessionStorage.getItem(DRAFTS) ?? "{}"));
    } catch {
      // None are kept, or something else is there: no drafts.
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    // A click beside the text, but in the box, is meant for the text.
    form.addEventListener("click", ({ target }) => target === form && area.focus());
    stop.addEventListener("click", () => {
      actions.stop();
      area.focus();
    });
    area.addEventListener("input", () => this.#changed());
    area.addEventListener("keydown", (event) => {
      // While an input method composes a word, its Enter only ends the word.
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey && !this.#touch.matches) {
        event.preventDefault();
        this.#submit();
      } else if (event.key === "ArrowUp" && area.value === "") {
        event.preventDefault();
        actions.editLast();
      }
    });
  }

  focus() {
    this.#area.focus({ preventScroll: true });
  }

  /** Put the cursor here at the start, unless that would open a keyboard over the page. */
  focusIfKeyboard() {
    if (!this.#touch.matches) this.focus();
  }

  /**
   * Show the draft of a conversation.
   * @param {string} id
   */
  open(id) {
    this.#id = id;
    this.text = String(this.#drafts[id] ?? "");
  }

  get text() {
    return this.#area.value;
  }

  set text(text) {
    this.#area.value = text;
    this.#changed();
  }

  /** @param {{ answering: boolean, able: boolean, placeholder: string }} state */
  update({ answering, able, placeholder }) {
    this.#answering = answering;
    this.#able = able;
    this.#area.placeholder = placeholder;
    const hadFocus = document.activeElement === (answering ? this.#send : this.#stop);
    this.#send.hidden = answering;
    this.#stop.hidden = !answering;
    if (hadFocus) this.#area.focus();
    this.#judge();
  }

  #judge() {
    this.#send.disabled = !this.#able || this.#area.value.trim() === "";
  }

  #changed() {
    fit(this.#area);
    this.#judge();
    if (this.#area.value) this.#drafts[this.#id] = this.#area.value;
    else delete this.#drafts[this.#id];
    try {
      sessionStorage.setItem(DRAFTS, JSON.stringify(this.#drafts));
    } catch {
      // The draft lasts as long as the page, then.
    }
  }

  #submit() {
    const text = this.#area.value;
    if (this.#answering || !this.#able || text.trim() === "") return;
    this.text = "";
    this.actions.send(text);
  }
}
