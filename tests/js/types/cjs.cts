// Compiled, never run: what TypeScript makes of `require("pocketllama")`.
import pocketllama = require("pocketllama");

async function main(): Promise<string> {
  const llm: pocketllama.Llm = await pocketllama.load("tales");
  try {
    return await llm.complete("Once", { temperature: 0 }).text();
  } catch (error) {
    if (error instanceof pocketllama.PocketllamaError) return error.describe();
    throw error;
  }
}
main();
