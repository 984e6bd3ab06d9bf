// The conversation follows its newest words, until the reader goes elsewhere.

/** How near the end still counts as the end, in CSS pixels. */
const NEAR = 32;

export class Follower {
  #scroller;
  #toEnd;
  #follows = true;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLButtonElement} toEnd shown while the reader is elsewhere
   */
  constructor(scroller, toEnd) {
    this.#scroller = scroller;
    this.#toEnd = toEnd;
    scroller.addEventListener("scroll", () => this.#see(), { passive: true });
    // Words that come fast would pull back a small step up before it is seen as one.
    scroller.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leave(), { passive: true });
    let from = 0;
    scroller.addEventListener("touchstart", ({ touches }) => (from = touches[0].clientY), { passive: true });
    scroller.addEventListener("touchmove", ({ touches }) => touches[0].clientY > from && this.#leave(), {
      passive: true,
    });
    scroller.addEventListener("keydown", ({ key }) => ["ArrowUp", "PageUp", "Home"].includes(key) && this.#leave());
    toEnd.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(scroller);
  }

  /** The content has changed. */
  grown() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else this.#show();
  }

  /** Go to the end, and follow from now on. */
  toEnd() {
    this.#follows = true;
    this.grown();
    this.#show();
  }

  get #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #leave() {
    if (this.#scroller.scrollHeight <= this.#scroller.clientHeight) return;
    this.#follows = false;
    this.#show();
  }

  #see() {
    this.#follows = this.#distance < NEAR;
    this.#show();
  }

  #show() {
    this.#toEnd.hidden = this.#follows || this.#distance < NEAR;
  }
}
