// The list of conversations; on a narrow screen it slides over the page.

import { h } from "./dom.js";

const DAY = 24 * 60 * 60 * 1000;

/**
 * Under which heading a time is listed.
 * @param {number} time ms since 1970
 * @param {Date} now
 */
export function era(time, now) {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (time >= today) return "Today";
  if (time >= today - DAY) return "Yesterday";
  return time >= today - 7 * DAY ? "The last seven days" : "Earlier";
}

export class Sidebar {
  #narrow = matchMedia("(max-width: 800px)");
  #open = false;

  /**
   * @param {{
   *   nav: HTMLElement, list: HTMLElement, scrim: HTMLElement, opener: HTMLButtonElement, closer: HTMLButtonElement,
   * }} elements
   */
  constructor(elements) {
    this.elements = elements;
    const { nav, scrim, opener, closer } = elements;
    opener.addEventListener("click", () => (this.isOpen ? this.close() : this.open()));
    closer.addEventListener("click", () => this.close());
    scrim.addEventListener("click", () => this.close());
    nav.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#narrow.matches) return;
      event.stopPropagation();
      this.close();
    });
    // Following a link in it is what a drawer was opened for.
    nav.addEventListener("click", ({ target }) => {
      if (this.#narrow.matches && target instanceof Element && target.closest("a")) this.#set(false);
    });
    this.#narrow.addEventListener("change", () => this.#set(!this.#narrow.matches));
    this.#set(!this.#narrow.matches);
  }

  get isOpen() {
    return this.#open;
  }

  open() {
    this.#set(true);
    this.elements.nav.querySelector("a")?.focus();
  }

  close() {
    this.#set(false);
    this.elements.opener.focus();
  }

  /** @param {boolean} open */
  #set(open) {
    const { nav, scrim, opener } = this.elements;
    this.#open = open;
    nav.inert = !open; // what is not seen is not reached by the Tab key either
    document.body.classList.toggle("with-sidebar", open);
    scrim.hidden = !(open && this.#narrow.matches);
    /** @type {HTMLElement} */ (document.getElementById("main")).inert = !scrim.hidden;
    opener.setAttribute("aria-expanded", String(open));
  }

  /**
   * @param {import("./store.js").Summary[]} summaries newest first
   * @param {string | undefined} current
   * @param {Set<string>} busy those in which an answer is under way
   */
  show(summaries, current, busy) {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.id : undefined;
    const now = new Date();
    /** @type {Map<string, HTMLElement[]>} */
    const groups = new Map();
    for (const { id, name, updated } of summaries) {
      const link = h(
        "a",
        {
          href: `#/${id}`,
          "data-id": id,
          "aria-current": id === current && "page",
          title: name,
          class: busy.has(id) ? "busy" : "",
        },
        h("span", { dir: "auto" }, name),
        busy.has(id) && h("span", { class: "unseen" }, " (answering)"),
      );
      const group = era(updated, now);
      groups.set(group, [...(groups.get(group) ?? []), h("li", {}, link)]);
    }
    const { list } = this.elements;
    list.replaceChildren(
      ...[...groups].map(([name, items]) =>
        h("section", { "aria-label": name }, h("h2", {}, name), h("ul", {}, ...items)),
      ),
    );
    if (!summaries.length) list.append(h("p", { class: "none" }, "Your conversations will be listed here."));
    if (focused) /** @type {HTMLElement | null} */ (list.querySelector(`[data-id="${CSS.escape(focused)}"]`))?.focus();
  }
}
