// What went wrong, in words: what happened, why, and what to do.

import { ApiError } from "./api.js";

/** @typedef {import("./conversation.js").Failure} Failure */

/**
 * @param {unknown} error
 * @returns {Failure}
 */
export function describe(error) {
  if (!(error instanceof ApiError)) {
    return {
      title: "The page failed",
      cause: error instanceof Error ? error.message : String(error),
      remedy: "Reload the page. Your conversations are kept.",
    };
  }
  const cause = sentence(error.message);
  switch (error.kind) {
    case "unreachable":
      return {
        title: "The server does not answer",
        cause: "It was stopped, or the connection to it is gone.",
        remedy: "Start it again with `pocketllama serve`, then retry. What you wrote is kept.",
      };
    case "broken":
      return {
        title: "The answer was cut off",
        cause,
        remedy: "What came until then is kept. Retry for a whole answer.",
      };
    case "key":
      return {
        title: "The server asks for a key",
        cause: "It was started with an API key, and the one sent is missing or wrong.",
        remedy: "Enter the key in the settings.",
      };
    case "busy":
      return { title: "The server is busy", cause, remedy: "Retry in a moment." };
    case "context":
      // The server's own remedy is for a program's author; who reads a page has other means.
      return {
        title: "The conversation is too long for the model",
        cause,
        remedy: "Start a new chat, edit an earlier message, or start the server with a longer context (`--ctx`).",
      };
    case "server":
      return {
        title: "The server failed",
        cause,
        remedy: error.remedy ?? "Retry. If it stays so, look at the server’s terminal.",
      };
    default:
      return { title: "The server refused", cause, remedy: error.remedy ?? "Look at the settings, and retry." };
  }
}

/** @param {string} text */
function sentence(text) {
  const trimmed = text.trim();
  return trimmed.length > 1000 ? `${trimmed.slice(0, 1000)}…` : trimmed;
}
