export { load } from "./client.js";
export { PocketllamaError } from "./errors.cjs";
