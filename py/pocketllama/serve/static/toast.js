// A word about what was just done, and a way back.

/** How long it stays, in ms: long enough to be read and reached by the keyboard. */
const STAYS = 8000;

export class Toast {
  #text;
  #button;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #undo = () => {};

  /** @param {HTMLElement} element a popover with a text and a button */
  constructor(element) {
    this.element = element;
    this.#text = /** @type {HTMLElement} */ (element.querySelector("span"));
    this.#button = /** @type {HTMLButtonElement} */ (element.querySelector("button"));
    this.#button.addEventListener("click", () => {
      this.hide();
      this.#undo();
    });
    // It does not go away under the reader's hand.
    element.addEventListener("pointerenter", () => clearTimeout(this.#timer));
    element.addEventListener("focusin", () => clearTimeout(this.#timer));
    element.addEventListener("pointerleave", () => this.#leaveSoon());
    element.addEventListener("focusout", () => this.#leaveSoon());
  }

  /**
   * @param {string} text
   * @param {() => void} [undo]
   */
  show(text, undo) {
    this.#text.textContent = text;
    this.#button.textContent = undo ? "Undo" : "Close";
    this.#undo = undo ?? (() => {});
    if (!this.element.matches(":popover-open")) this.element.showPopover();
    this.#leaveSoon();
  }

  hide() {
    clearTimeout(this.#timer);
    if (this.element.matches(":popover-open")) this.element.hidePopover();
  }

  #leaveSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.hide(), STAYS);
  }
}
