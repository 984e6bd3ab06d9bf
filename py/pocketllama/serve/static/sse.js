// Server-sent events, as WHATWG HTML 9.2.6 defines the stream; EventSource itself cannot send a request body.

/** The longest event that is taken, in characters: a server that never ends a line must not fill the memory. */
export const LONGEST_EVENT = 4 * 1024 * 1024;

/**
 * The data of each event of a `text/event-stream` body, as soon as it is complete. An event that the end of the
 * stream cuts is dropped, as the standard says.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<string, void, void>}
 */
export async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder(); // it removes a leading byte order mark, too
  let text = "";
  /** @type {string[]} */
  let data = [];
  let size = 0;
  let afterCarriageReturn = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      let more = decoder.decode(value, { stream: true });
      if (more === "") continue;
      // A line ends with CR, LF or CRLF, and the two characters of a CRLF may come in two pieces.
      if (afterCarriageReturn && more.startsWith("\n")) more = more.slice(1);
      afterCarriageReturn = more.endsWith("\r");
      const lines = (text + more).split(/\r\n|\r|\n/);
      text = /** @type {string} */ (lines.pop());
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield data.join("\n");
          data = [];
          size = 0;
        } else if (line.startsWith("data:")) {
          const field = line.slice(line[5] === " " ? 6 : 5);
          data.push(field);
          size += field.length;
        }
      }
      if (size + text.length > LONGEST_EVENT) throw new RangeError("an event of the stream does not end");
    }
  } finally {
    // Leaving the loop early ends the request, so that the server hears of it.
    await reader.cancel().catch(() => {});
  }
}
