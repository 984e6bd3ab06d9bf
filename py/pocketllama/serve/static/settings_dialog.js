// The dialog in which settings are changed. Each change holds at once; there is nothing to confirm.

import { byId, h } from "./dom.js";
import { accept, SAMPLING, THEMES } from "./settings.js";

export class SettingsDialog {
  dialog = byId("settings", HTMLDialogElement);
  #system = byId("system", HTMLTextAreaElement);
  #stops = byId("stops", HTMLTextAreaElement);
  #theme = byId("theme", HTMLSelectElement);
  #key = byId("key", HTMLInputElement);
  /** @type {Map<string, HTMLInputElement>} */
  #inputs = new Map();

  /**
   * @param {import("./settings.js").Settings} settings live: changed in place
   * @param {{ changed: () => void, keyChanged: (key: string) => void }} listener
   */
  constructor(settings, listener) {
    this.settings = settings;
    this.listener = listener;
    const rows = SAMPLING.map((field) => {
      const input = h("input", {
        id: `s-${field.name}`,
        type: "text",
        inputmode: field.whole ? "numeric" : "decimal",
        autocomplete: "off",
        placeholder: "default",
        "aria-describedby": `h-${field.name}`,
        input: () => this.#take(field, input),
      });
      this.#inputs.set(field.name, input);
      const help = h("small", { id: `h-${field.name}` }, field.help);
      return h("div", { class: "field" }, h("label", { for: input.id }, field.label), input, help);
    });
    byId("sampling", HTMLElement).append(...rows);
    this.#system.addEventListener("input", () => this.#set({ system: this.#system.value }));
    this.#stops.addEventListener("input", () => this.#set({ stop: this.#stops.value }));
    this.#theme.addEventListener("change", () => {
      const theme = THEMES.find((name) => name === this.#theme.value) ?? "system";
      this.#set({ theme });
    });
    this.#key.addEventListener("change", () => listener.keyChanged(this.#key.value.trim()));
    byId("reset", HTMLButtonElement).addEventListener("click", () => {
      this.#set({ sampling: {}, stop: "" });
      this.#fill();
    });
    // A click beside the dialog closes it: there, the click's target is the dialog itself.
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.dialog.close());
  }

  /** @param {string} [focus] the id of the field to go to */
  open(focus) {
    this.#fill();
    if (!this.dialog.open) this.dialog.showModal();
    if (focus) document.getElementById(focus)?.focus();
  }

  /** @param {string} key */
  set key(key) {
    this.#key.value = key;
  }

  #fill() {
    const { system, stop, theme, sampling } = this.settings;
    this.#system.value = system;
    this.#stops.value = stop;
    this.#theme.value = theme;
    for (const field of SAMPLING) {
      const input = /** @type {HTMLInputElement} */ (this.#inputs.get(field.name));
      input.value = sampling[field.name] === undefined ? "" : String(sampling[field.name]);
      this.#judge(field, input);
    }
  }

  /** @param {Partial<import("./settings.js").Settings>} change */
  #set(change) {
    Object.assign(this.settings, change);
    this.listener.changed();
  }

  /**
   * @param {import("./settings.js").Field} field
   * @param {HTMLInputElement} input
   */
  #take(field, input) {
    const sampling = { ...this.settings.sampling };
    const number = accept(field, input.value);
    if (number === undefined) delete sampling[field.name];
    else sampling[field.name] = number;
    this.#judge(field, input);
    this.#set({ sampling });
  }

  /**
   * Say what a field takes, where it has something else.
   * @param {import("./settings.js").Field} field
   * @param {HTMLInputElement} input
   */
  #judge(field, input) {
    const wrong = input.value.trim() !== "" && accept(field, input.value) === undefined;
    const help = document.getElementById(`h-${field.name}`);
    input.setAttribute("aria-invalid", String(wrong));
    if (!help) return;
    const kind = field.whole ? "a whole number" : "a number";
    help.textContent = wrong ? `Takes ${kind} from ${field.min} to ${field.max}; the default is used.` : field.help;
  }
}
