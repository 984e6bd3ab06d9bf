// Where conversations are kept: the browser's IndexedDB, or the memory of this tab where a browser gives none.

/**
 * @typedef {import("./conversation.js").ConversationRecord} ConversationRecord
 * @typedef {{ id: string, name: string, updated: number }} Summary
 */

/**
 * @typedef {object} Store
 * @property {boolean} lasting whether it outlives the tab
 * @property {() => Promise<Summary[]>} list newest first
 * @property {(id: string) => Promise<unknown>} get a record, or undefined
 * @property {(record: ConversationRecord, summary: Summary) => Promise<void>} put
 * @property {(id: string) => Promise<void>} remove
 * @property {() => Promise<unknown[]>} all
 * @property {() => Promise<void>} clear
 */

const NAME = "pocketllama";
const RECORDS = "conversations";
const SUMMARIES = "summaries"; // so that the list is read without the texts

/** @param {Summary[]} summaries */
const newestFirst = (summaries) => summaries.sort((a, b) => b.updated - a.updated);

/** @implements {Store} */
export class MemoryStore {
  lasting = false;
  /** @type {Map<string, { record: ConversationRecord, summary: Summary }>} */
  #entries = new Map();

  async list() {
    return newestFirst([...this.#entries.values()].map(({ summary }) => ({ ...summary })));
  }
  /** @param {string} id */
  async get(id) {
    const entry = this.#entries.get(id);
    return entry && structuredClone(entry.record);
  }
  /**
   * @param {ConversationRecord} record
   * @param {Summary} summary
   */
  async put(record, summary) {
    this.#entries.set(record.id, structuredClone({ record, summary }));
  }
  /** @param {string} id */
  async remove(id) {
    this.#entries.delete(id);
  }
  async all() {
    return [...this.#entries.values()].map(({ record }) => structuredClone(record));
  }
  async clear() {
    this.#entries.clear();
  }
}

/** @implements {Store} */
export class BrowserStore {
  lasting = true;
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
    // Another tab with a newer page wants to change the layout: let it.
    database.onversionchange = () => database.close();
  }

  /** @returns {Promise<Summary[]>} */
  async list() {
    return newestFirst(await result(this.#read(SUMMARIES).getAll()));
  }
  /** @param {string} id */
  async get(id) {
    return await result(this.#read(RECORDS).get(id));
  }
  /**
   * @param {ConversationRecord} record
   * @param {Summary} summary
   */
  async put(record, summary) {
    await this.#write((records, summaries) => {
      records.put(record);
      summaries.put(summary);
    });
  }
  /** @param {string} id */
  async remove(id) {
    await this.#write((records, summaries) => {
      records.delete(id);
      summaries.delete(id);
    });
  }
  async all() {
    return await result(this.#read(RECORDS).getAll());
  }
  async clear() {
    await this.#write((records, summaries) => {
      records.clear();
      summaries.clear();
    });
  }

  /** @param {string} name */
  #read(name) {
    return this.#database.transaction(name).objectStore(name);
  }

  /**
   * @param {(records: IDBObjectStore, summaries: IDBObjectStore) => void} change both, or neither
   * @returns {Promise<void>} when it is on disk
   */
  #write(change) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction([RECORDS, SUMMARIES], "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      change(transaction.objectStore(RECORDS), transaction.objectStore(SUMMARIES));
      transaction.commit(); // now, and not in a later task: the page may be about to close
    });
  }
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<Store>} */
export async function openStore() {
  try {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RECORDS, { keyPath: "id" });
      request.result.createObjectStore(SUMMARIES, { keyPath: "id" });
    };
    return new BrowserStore(await result(request));
  } catch {
    return new MemoryStore(); // a private window of some browsers, or storage that was switched off
  }
}
