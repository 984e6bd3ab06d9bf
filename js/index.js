export { load } from "./client.js";
export { Session } from "./session.cjs";
export { PocketllamaError } from "./errors.cjs";
