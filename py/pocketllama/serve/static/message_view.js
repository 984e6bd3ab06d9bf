// One message of the conversation: what was said, and what can be done with it.

import { AnswerView } from "./answer_view.js";
import { copy } from "./clipboard.js";
import { h, icon, iconButton, withCode } from "./dom.js";
import { reveal } from "./visible.js";

/**
 * @typedef {import("./conversation.js").Message} Message
 * @typedef {{
 *   retry: (message: Message) => void,
 *   edit: (message: Message, content: string) => void,
 *   choose: (id: string) => void,
 *   continues: () => boolean,
 *   goOn: (message: Message) => void,
 *   drawn: () => void,
 * }} Actions
 */

export class MessageView {
  /**
   * @param {Message} message
   * @param {Actions} actions
   */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    const mine = message.role === "user";
    this.body = h("div", { class: "body" });
    this.foot = h("div", { class: "foot" });
    this.element = h(
      "article",
      { class: message.role, "data-id": message.id, "aria-label": mine ? "You" : "Answer" },
      h("h2", { class: "unseen" }, mine ? "You said" : "Answer"),
      this.body,
      this.foot,
    );
    /** @type {AnswerView | undefined} */
    this.answer = mine ? undefined : new AnswerView(actions.drawn);
    /** @type {{ element: HTMLDetailsElement, view: AnswerView } | undefined} */
    this.thought = undefined;
    this.status = h("div", { class: "status" });
    if (this.answer) this.body.append(this.answer.element, this.status);
  }

  /**
   * Show the message as it is now.
   * @param {{ running: boolean, siblings: string[], waiting?: string }} state `waiting`: what it waits for, in words
   */
  update({ running, siblings, waiting = "" }) {
    const { message } = this;
    if (message.role === "user") {
      if (!this.editing) this.body.replaceChildren(...said(message.content));
    } else {
      this.#updateThought(running);
      if (running) this.answer?.grow(message.content);
      else this.answer?.show(message.content);
      this.element.setAttribute("aria-busy", String(running));
      this.status.replaceChildren(...this.#statusOf(running, waiting));
    }
    this.foot.replaceChildren(...this.#tools(running, siblings));
  }

  /** Show more of an answer that is under way, without touching anything else. */
  grow() {
    this.#updateThought(true);
    this.answer?.grow(this.message.content);
  }

  /** @param {string} waiting */
  wait(waiting) {
    this.status.replaceChildren(...this.#statusOf(true, waiting));
  }

  /** @param {boolean} running */
  #updateThought(running) {
    const { thought, content } = this.message;
    if (!thought) return;
    if (!this.thought) {
      const view = new AnswerView(this.actions.drawn);
      const element = h("details", { class: "thought" }, h("summary", {}, "Thinking"), view.element);
      this.thought = { element, view };
      this.body.prepend(element);
    }
    const { element, view } = this.thought;
    const summary = /** @type {HTMLElement} */ (element.firstElementChild);
    summary.textContent = running && !content ? "Thinking…" : "Thoughts";
    if (running) view.grow(thought);
    else view.show(thought);
  }

  /**
   * @param {boolean} running
   * @param {string} waiting
   */
  #statusOf(running, waiting) {
    const { end, failure, content, thought } = this.message;
    if (running)
      return waiting
        ? [h("p", { class: "waiting" }, h("span", { class: "dots", "aria-hidden": "true" }), waiting)]
        : [];
    if (failure) {
      return [
        h(
          "div",
          { class: "failure" },
          icon("alert"),
          h(
            "div",
            {},
            h("strong", {}, failure.title),
            h("p", {}, failure.cause),
            h("p", { class: "remedy" }, ...withCode(failure.remedy)),
            h("button", { type: "button", class: "quiet", click: () => this.actions.retry(this.message) }, "Retry"),
          ),
        ),
      ];
    }
    if (end === "stopped") return [h("p", { class: "note" }, "You stopped this answer.")];
    if (end === "length") {
      const { continues, goOn } = this.actions;
      const words = "The answer reached its longest length. The settings have the limit.";
      if (!continues()) return [h("p", { class: "note" }, words)];
      return [h("button", { type: "button", class: "quiet go-on", click: () => goOn(this.message) }, "Go on")];
    }
    if (!end) return [h("p", { class: "note" }, "The page was closed before this answer was complete.")];
    return content || thought ? [] : [h("p", { class: "note" }, "The model had nothing to say.")];
  }

  /**
   * @param {boolean} running
   * @param {string[]} siblings
   */
  #tools(running, siblings) {
    const { message, actions } = this;
    const tools = [];
    if (siblings.length > 1) {
      const at = siblings.indexOf(message.id);
      const step = (/** @type {number} */ by) => {
        const to = siblings[at + by];
        const name = by < 0 ? "left" : "right";
        const button = iconButton(name, by < 0 ? "Earlier version" : "Later version", () => actions.choose(to));
        button.disabled = to === undefined;
        return button;
      };
      tools.push(
        h(
          "span",
          { class: "versions" },
          step(-1),
          h("span", { "aria-label": `Version ${at + 1} of ${siblings.length}` }, `${at + 1}/${siblings.length}`),
          step(1),
        ),
      );
    }
    if (!running && message.content) tools.push(copyButton(() => message.content));
    if (message.role === "user") tools.push(iconButton("edit", "Edit", () => this.edit()));
    else if (!running && !message.failure) tools.push(iconButton("retry", "Retry", () => actions.retry(message)));
    const figures = running ? "" : inWords(message);
    if (figures) tools.push(h("span", { class: "figures" }, figures));
    return tools;
  }

  /** Let the reader change what they said; what comes of it is a new branch. */
  edit() {
    if (this.editing) return;
    this.editing = true;
    const area = h("textarea", { rows: "1", "aria-label": "Edit your message" });
    area.value = this.message.content;
    const end = () => {
      this.editing = false;
      this.element.classList.remove("editing");
      this.body.replaceChildren(...said(this.message.content));
      /** @type {HTMLElement | null} */ (this.foot.querySelector("button:last-of-type"))?.focus();
    };
    const save = () => {
      if (area.value.trim() === "") return;
      end();
      this.actions.edit(this.message, area.value);
    };
    const form = h(
      "form",
      {
        class: "edit",
        submit: (event) => (event.preventDefault(), save()),
        keydown: (event) => {
          if (event.key === "Escape") end();
          else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
          else return;
          event.preventDefault();
          event.stopPropagation();
        },
      },
      area,
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", class: "quiet", click: end }, "Cancel"),
        h("button", { type: "submit" }, "Send"),
      ),
    );
    this.element.classList.add("editing");
    this.body.replaceChildren(form);
    fit(area);
    area.addEventListener("input", () => fit(area));
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/**
 * Make a text area as high as its text. (Newer browsers do it by `field-sizing` alone.)
 * @param {HTMLTextAreaElement} area
 */
export function fit(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

/**
 * What the reader said: plain text, as it was written.
 * @param {string} content
 */
function said(content) {
  const pieces = reveal(content).map((piece) =>
    typeof piece === "string" ? piece : h("span", { class: "invisible", title: piece.name }, piece.label),
  );
  return [h("p", { class: "said", dir: "auto" }, ...pieces)];
}

/** @param {() => string} text */
function copyButton(text) {
  const button = iconButton("copy", "Copy", async () => {
    const done = await copy(text());
    const label = done ? "Copied" : "Not copied: the browser refused";
    button.replaceChildren(icon(done ? "done" : "alert"));
    button.title = label;
    button.setAttribute("aria-label", label);
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.title = "Copy";
      button.setAttribute("aria-label", "Copy");
    }, 2000);
  });
  return button;
}

/** @param {Message} message */
function inWords({ stats, model }) {
  const { completion, rate } = stats ?? {};
  const words = [];
  if (completion !== undefined)
    words.push(`${completion.toLocaleString("en")} ${completion === 1 ? "token" : "tokens"}`);
  if (rate) words.push(`${rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en")} tokens/s`);
  if (model && words.length) words.push(model);
  return words.join(" · ");
}
