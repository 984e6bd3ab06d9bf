// The conversations that are kept: one open, the others in the store; other tabs of the page hear of changes.

import { Conversation } from "./conversation.js";

/** The shortest time between two savings of an answer that grows, in ms. */
const PAUSE = 1000;

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").Summary} Summary
 */

export class Library {
  #store;
  #channel;
  /**
   * What is being written, so that its conversation is one object wherever it is opened.
   * @type {Map<string, Conversation>}
   */
  #live = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map();
  /** What was deleted: an answer that was under way then does not bring it back. @type {Set<string>} */
  #removed = new Set();

  /**
   * @param {Store} store
   * @param {{ changed: (id?: string) => void, failed: (error: unknown) => void }} listener `changed`: by another tab
   */
  constructor(store, listener) {
    this.#store = store;
    this.listener = listener;
    this.#channel = typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel("pocketllama");
    this.#channel?.addEventListener("message", ({ data }) =>
      listener.changed(typeof data === "string" ? data : undefined),
    );
  }

  get lasting() {
    return this.#store.lasting;
  }

  /** @returns {Promise<Summary[]>} */
  list() {
    return this.#store.list();
  }

  /**
   * @param {string} id
   * @returns {Promise<Conversation | undefined>}
   */
  async open(id) {
    const live = this.#live.get(id);
    if (live) return live;
    const record = await this.#store.get(id);
    return record === undefined ? undefined : Conversation.from(record);
  }

  async all() {
    const records = await this.#store.all();
    return records.map((record) => Conversation.from(record)).sort((a, b) => b.updated - a.updated);
  }

  /** @param {Conversation} conversation */
  hold(conversation) {
    this.#live.set(conversation.id, conversation);
  }

  /** @param {Conversation} conversation */
  release(conversation) {
    this.#live.delete(conversation.id);
  }

  /**
   * Save a conversation now.
   * @param {Conversation} conversation
   */
  async save(conversation) {
    const { id, name, updated } = conversation;
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    if (this.#removed.has(id)) return;
    try {
      await this.#store.put(conversation.record(), { id, name, updated });
      this.#channel?.postMessage(id);
    } catch (error) {
      this.listener.failed(error);
    }
  }

  /**
   * Save a conversation soon; one that changes all the time is saved now and then.
   * @param {Conversation} conversation
   */
  saveSoon(conversation) {
    if (this.#timers.has(conversation.id)) return;
    this.#timers.set(
      conversation.id,
      setTimeout(() => this.save(conversation), PAUSE),
    );
  }

  /** Save what is being written: the page may be about to close. */
  saveLive() {
    for (const conversation of this.#live.values()) void this.save(conversation);
  }

  /** @param {string} id */
  async remove(id) {
    this.#removed.add(id);
    this.#live.delete(id);
    await this.#store.remove(id);
    this.#channel?.postMessage(id);
  }

  /** @param {Conversation} conversation one that was deleted */
  async restore(conversation) {
    this.#removed.delete(conversation.id);
    await this.save(conversation);
  }

  async clear() {
    for (const { id } of await this.#store.list()) this.#removed.add(id);
    this.#live.clear();
    await this.#store.clear();
    this.#channel?.postMessage(null);
  }
}
