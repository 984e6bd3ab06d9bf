// A conversation is a tree of messages: a retry or an edit adds a branch, and nothing that was said is lost.

/**
 * @typedef {"user" | "assistant"} Role
 * @typedef {"stop" | "length" | "stopped" | "error"} End how an answer ended; "stopped" is the reader's doing
 * @typedef {{ title: string, cause: string, remedy: string }} Failure in words
 * @typedef {{ prompt?: number, completion?: number, rate?: number, context?: number }} Stats tokens; tokens/s; the
 *   context's length in tokens
 * @typedef {{
 *   id: string, parent: string | null, role: Role, content: string, created: number,
 *   thought?: string, model?: string, end?: End, failure?: Failure, stats?: Stats,
 * }} Message
 * @typedef {{
 *   id: string, title: string, created: number, updated: number, head: string | null, messages: Message[],
 * }} ConversationRecord what is stored and exported; times are milliseconds since 1970
 */

export const FORMAT = "pocketllama-conversations";
export const VERSION = 1;

const LONGEST_TITLE = 200;

/** A new id. It only has to differ from others in this browser. (`crypto.randomUUID` is missing on plain HTTP.) */
export function newId() {
  return Array.from({ length: 4 }, () =>
    Math.floor(Math.random() * 2 ** 32)
      .toString(36)
      .padStart(7, "0"),
  ).join("");
}

export class Conversation {
  /** @param {{ id?: string, title?: string, created?: number, updated?: number }} [fields] */
  constructor({ id = newId(), title = "", created = Date.now(), updated = created } = {}) {
    this.id = id;
    /** What the reader named it; empty: the first words that were said. */
    this.title = title;
    this.created = created;
    this.updated = updated;
    /** The last message of the branch that is shown. @type {string | null} */
    this.head = null;
    /** In the order in which they were made. @type {Map<string, Message>} */
    this.messages = new Map();
  }

  /** The name under which it is listed. */
  get name() {
    if (this.title) return this.title;
    for (const message of this.messages.values()) {
      const line = message.role === "user" && message.content.trim().split("\n", 1)[0].trim();
      if (line) return line.length > 80 ? `${line.slice(0, 80).trimEnd()}…` : line;
    }
    return "New chat";
  }

  /**
   * Add a message and show its branch.
   * @param {{ role: Role, content?: string, parent: string | null, model?: string }} fields
   * @returns {Message} live: an answer grows in it
   */
  add({ role, content = "", parent, model }) {
    if (parent !== null && !this.messages.has(parent)) throw new RangeError(`no message ${parent}`);
    /** @type {Message} */
    const message = { id: newId(), parent, role, content, created: Date.now() };
    if (model) message.model = model;
    this.messages.set(message.id, message);
    this.head = message.id;
    this.updated = message.created;
    return message;
  }

  /** The messages shown, first to last. */
  path() {
    /** @type {Message[]} */
    const path = [];
    for (let id = this.head; id !== null;) {
      const message = /** @type {Message} */ (this.messages.get(id));
      path.push(message);
      id = message.parent;
    }
    return path.reverse();
  }

  /** The ids of the messages that follow each message, in the order in which they were made. */
  children() {
    /** @type {Map<string | null, string[]>} */
    const children = new Map();
    for (const { id, parent } of this.messages.values()) {
      const siblings = children.get(parent);
      if (siblings) siblings.push(id);
      else children.set(parent, [id]);
    }
    return children;
  }

  /**
   * Show the branch that a message is in, to its newest end.
   * @param {string} id
   */
  choose(id) {
    const children = this.children();
    for (let next = /** @type {string | undefined} */ (id); next !== undefined; next = children.get(next)?.at(-1)) {
      this.head = next;
    }
  }

  /** @returns {ConversationRecord} */
  record() {
    const { id, title, created, updated, head } = this;
    return { id, title, created, updated, head, messages: [...this.messages.values()] };
  }

  /**
   * A conversation of what was stored or exported. Every field is checked: a file may say anything.
   * @param {unknown} value
   * @returns {Conversation}
   * @throws {TypeError} which says what is wrong
   */
  static from(value) {
    const { id, title, created, updated, head, messages } = object(value, "a conversation");
    if (!Array.isArray(messages)) throw new TypeError("a conversation's messages are not a list");
    const conversation = new Conversation({
      id: identifier(id, "a conversation's id"),
      title: string(title ?? "", "a title").slice(0, LONGEST_TITLE),
      created: time(created),
      updated: time(updated),
    });
    for (const entry of messages) {
      const message = messageFrom(entry);
      if (conversation.messages.has(message.id)) throw new TypeError("two messages have one id");
      // A parent comes before its children, so that no branch can lead back into itself.
      if (message.parent !== null && !conversation.messages.has(message.parent)) {
        throw new TypeError("a message follows one that is not there");
      }
      conversation.messages.set(message.id, message);
    }
    const last = [...conversation.messages.keys()].at(-1) ?? null;
    conversation.head = typeof head === "string" && conversation.messages.has(head) ? head : last;
    return conversation;
  }
}

/**
 * What the API is sent for a conversation up to a message. An answer that failed at once said nothing; what stands on
 * both sides of it becomes one message, because the templates of many models take none but alternating roles.
 * @param {Message[]} path
 * @param {string} [system]
 * @returns {{ role: "system" | Role, content: string }[]}
 */
export function toRequest(path, system = "") {
  /** @type {ReturnType<typeof toRequest>} */
  const said = system.trim() ? [{ role: "system", content: system }] : [];
  for (const { role, content } of path) {
    const last = said[said.length - 1];
    if (last?.role === role) last.content += `\n\n${content}`;
    else if (role === "user" || content !== "") said.push({ role, content });
  }
  return said;
}

/**
 * The one text that a conversation with a model is which only continues texts. The model's words follow as they
 * come; the reader's begin a paragraph, or go on with a sentence.
 * @param {Message[]} path
 */
export function toText(path) {
  let text = "";
  for (const { role, content } of path) {
    const seam = role === "user" && text !== "" && !/\s$/.test(text) && !/^\s/.test(content);
    if (seam) text += /[.!?…:"'’”»]$/.test(text) ? "\n\n" : " ";
    text += content;
  }
  return text;
}

/**
 * @param {Conversation[]} conversations
 * @param {Date} [now]
 * @returns {string} a file for `fromExport`, and for other programs
 */
export function toExport(conversations, now = new Date()) {
  const records = conversations.map((conversation) => ({ ...conversation.record(), name: conversation.name }));
  const file = { format: FORMAT, version: VERSION, exported: now.toISOString(), conversations: records };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/**
 * The conversations of an exported file.
 * @param {string} text
 * @returns {Conversation[]}
 * @throws {TypeError} which says what is wrong; then nothing of the file is taken
 */
export function fromExport(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new TypeError("it is not JSON");
  }
  const { format, version, conversations } = object(file, "the file");
  if (format !== FORMAT || !Array.isArray(conversations)) throw new TypeError("it was not exported from this page");
  if (version !== VERSION) throw new TypeError(`its version is ${String(version)}, and this page reads ${VERSION}`);
  return conversations.map((entry) => Conversation.from(entry));
}

/**
 * @param {unknown} value
 * @returns {Message}
 */
function messageFrom(value) {
  const { id, parent, role, content, created, thought, model, end, failure, stats } = object(value, "a message");
  if (role !== "user" && role !== "assistant") throw new TypeError("a message's role is neither user nor assistant");
  /** @type {Message} */
  const message = {
    id: identifier(id, "a message's id"),
    parent: parent === null ? null : identifier(parent, "a message's parent"),
    role,
    content: string(content, "a message's content"),
    created: time(created),
  };
  if (thought !== undefined) message.thought = string(thought, "a thought");
  if (model !== undefined) message.model = string(model, "a model's name");
  if (end === "stop" || end === "length" || end === "stopped" || end === "error") message.end = end;
  if (failure !== undefined) {
    const { title, cause, remedy } = object(failure, "a failure");
    message.failure = {
      title: string(title, "a failure's title"),
      cause: string(cause, "a failure's cause"),
      remedy: string(remedy, "a failure's remedy"),
    };
  }
  if (stats !== undefined) message.stats = statsFrom(object(stats, "statistics"));
  return message;
}

/**
 * @param {Record<string, unknown>} value
 * @returns {Stats}
 */
export function statsFrom(value) {
  /** @type {Stats} */
  const stats = {};
  for (const key of /** @type {const} */ (["prompt", "completion", "rate", "context"])) {
    const number = value[key];
    if (typeof number === "number" && Number.isFinite(number) && number >= 0) stats[key] = number;
  }
  return stats;
}

/**
 * @param {unknown} value
 * @param {string} what
 * @returns {{ [key: string]: unknown }}
 */
function object(value, what) {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${what} is not an object`);
  return /** @type {{ [key: string]: unknown }} */ (value);
}

/**
 * @param {unknown} value
 * @param {string} what
 */
function string(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} is not text`);
  return value;
}

/**
 * @param {unknown} value
 * @param {string} what
 */
function identifier(value, what) {
  if (typeof value !== "string" || !/^[\w-]{1,64}$/.test(value)) throw new TypeError(`${what} is not one`);
  return value;
}

/** @param {unknown} value */
function time(value) {
  if (typeof value !== "number" || !Number.isFinite(value) || Math.abs(value) > 8.64e15) {
    throw new TypeError("a time is not a number of milliseconds");
  }
  return value;
}
