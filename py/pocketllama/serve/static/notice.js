// The line under the header: what keeps the page from working, why, and what to do.

import { h, icon, withCode } from "./dom.js";

export class Notice {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /**
   * @param {string} title
   * @param {string} remedy `code` in it between backticks
   * @param {{ label: string, act: () => void }} [button]
   */
  show(title, remedy, button) {
    clearTimeout(this.#timer);
    this.element.replaceChildren(
      icon("alert"),
      h("p", {}, h("strong", {}, title), " ", ...withCode(remedy)),
      ...(button ? [h("button", { type: "button", class: "quiet", click: button.act }, button.label)] : []),
    );
    this.element.className = "wrong";
    this.element.hidden = false;
  }

  /**
   * Say that it is well again, and go.
   * @param {string} text
   */
  relieve(text) {
    if (this.element.hidden) return;
    this.element.replaceChildren(icon("done"), h("p", {}, text));
    this.element.className = "";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.hide(), 3000);
  }

  hide() {
    clearTimeout(this.#timer);
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}
