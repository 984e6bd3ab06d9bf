// Whether the server is there, and what models it has: asked at the start, and again while it is away.

import { ApiError } from "./api.js";

/** Between two questions to a server that is away, in ms. */
const PAUSE = 1500;

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {{ state: "asking" | "up" | "away" | "key" | "empty" | "failed", models: Model[], message?: string }} News
 */

export class Connection {
  /** @type {Model[]} */
  models = [];
  /** @type {News["state"]} */
  state = "asking";
  #asking = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {(news: News) => void} told is called whenever the state changes
   */
  constructor(api, told) {
    this.api = api;
    this.told = told;
  }

  /** Ask for the models, until the server says something. */
  async check() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (!(await this.#ask())) {
        do await new Promise((resolve) => setTimeout(resolve, PAUSE));
        while (document.hidden || !(await this.api.isUp()));
      }
    } finally {
      this.#asking = false;
    }
  }

  async #ask() {
    try {
      this.models = await this.api.models();
      this.#tell(this.models.length ? "up" : "empty");
    } catch (error) {
      const kind = error instanceof ApiError ? error.kind : "failed";
      if (kind === "unreachable" || kind === "busy" || kind === "broken") {
        this.#tell("away");
        return false;
      }
      this.#tell(kind === "key" ? "key" : "failed", error instanceof Error ? error.message : String(error));
    }
    return true;
  }

  /**
   * @param {News["state"]} state
   * @param {string} [message]
   */
  #tell(state, message) {
    if (state === "away" && this.state === "away") return;
    this.state = state;
    this.told({ state, models: this.models, message });
  }
}
