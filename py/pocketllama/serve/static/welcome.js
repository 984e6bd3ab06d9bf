// What an empty conversation says: what can be done here, and something to start with.

import { h } from "./dom.js";

const QUESTIONS = [
  ["Explain an idea", "What is a hash table? Show a short example in Python."],
  ["Write for me", "Write a friendly note that declines an invitation to dinner."],
  ["Compare", "Make a table of the inner planets: radius, day and year."],
];
const BEGINNINGS = [
  ["A story", "Once upon a time, there was a little fox who"],
  ["A child", "One day, Lily found a shiny key in the garden."],
  ["A king", "The king said to his daughter,"],
];

/**
 * @param {HTMLElement} element
 * @param {import("./api.js").Model | undefined} model
 * @param {(text: string) => void} take puts a text into the message box
 */
export function welcome(element, model, take) {
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const where = here ? "this computer" : location.hostname;
  const continues = model?.completes ?? false;
  const title = continues ? "Begin, and it goes on." : "What would you like to know?";
  const about = continues
    ? `${model?.id} continues a text; it was not taught to hold a conversation. Write the first words of something.`
    : `${model ? model.id : "The model"} runs on ${where}. What you write goes there and nowhere else.`;
  element.replaceChildren(
    h("h2", {}, title),
    h("p", {}, about),
    h(
      "ul",
      { "aria-label": "Something to start with" },
      ...(continues ? BEGINNINGS : QUESTIONS).map(([name, text]) =>
        h(
          "li",
          {},
          h("button", { type: "button", click: () => take(text) }, h("strong", {}, name), h("span", {}, text)),
        ),
      ),
    ),
  );
}
