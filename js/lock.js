// One builder at a time. The lock only saves work: what it guards is also safe without it (unique temporary folders,
// renamed), so a lock that is wrongly broken costs a second build and nothing else.

import { createHash, randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 150;
// Another host's processes cannot be asked about. A build takes minutes on the slowest line.
const FOREIGN_LIMIT_MS = 30 * 60_000;

const here = () => createHash("sha256").update(hostname()).digest("hex").slice(0, 8);

/** When a process started, in the kernel's own unit; "0" where that cannot be known. Tells a reused pid from its owner. */
function startOf(/** @type {number} */ pid) {
  try {
    // The name in parentheses may itself hold spaces and parentheses; field 22 counts from behind it.
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(")").pop()?.trim().split(" ")[19] ?? "0";
  } catch {
    return "0";
  }
}

/** A name for this process that no other process, now or later, has. */
export const ownerId = () => `${here()}-${process.pid}-${startOf(process.pid)}`;

/** A name for a temporary file or folder of this process. */
export const temporaryName = () => `.tmp-${ownerId()}-${randomBytes(4).toString("hex")}`;

/**
 * Whether what bears an owner's name is still in use.
 * @param {string} name ownerId() or temporaryName() of some process
 * @param {string} path the file or folder itself, whose age decides about other hosts
 */
export function isAlive(name, path) {
  const [, host, pid, start] = /^(?:\.tmp-)?([0-9a-f]{8})-(\d+)-(\d+)/.exec(name) ?? [];
  if (host === here()) {
    try {
      process.kill(Number(pid), 0);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === "ESRCH") return false;
    }
    return startOf(Number(pid)) === start;
  }
  try {
    return Date.now() - statSync(path).mtimeMs < FOREIGN_LIMIT_MS;
  } catch {
    return false;
  }
}

/** Create the lock file with its content in one step, or say that it exists. @param {string} file @param {string} me */
function tryLock(file, me) {
  const draft = `${file}.${me}`;
  writeFileSync(draft, me);
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === "EEXIST") return false;
    // A file system without hard links: exclusive creation, whose content comes a moment later.
    try {
      writeFileSync(file, me, { flag: "wx" });
      return true;
    } catch (second) {
      if (/** @type {NodeJS.ErrnoException} */ (second).code === "EEXIST") return false;
      throw second;
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @param {string} file */
function holder(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

/**
 * Run `body` while holding `file`. Waits for a live holder, takes over from a dead one.
 * @template T
 * @param {string} file
 * @param {{ signal?: AbortSignal, onWait?: (pid: string) => void }} options
 * @param {() => Promise<T>} body
 * @returns {Promise<T>}
 */
export async function withLock(file, { signal, onWait }, body) {
  const me = ownerId();
  for (let waited = false; !tryLock(file, me); ) {
    const other = holder(file);
    if (other === null) continue; // released between the two calls
    if (!isAlive(other, file)) {
      const aside = `${file}.stale-${me}`;
      try {
        renameSync(file, aside);
      } catch {
        continue; // another waiter was quicker
      }
      // Between reading and renaming, another waiter may have replaced the dead lock by its own: give that back.
      if (holder(aside) !== other) {
        try {
          linkSync(aside, file);
        } catch {
          // a third process holds it by now; the loser of the two builds adopts the winner's
        }
      }
      rmSync(aside, { force: true });
      continue;
    }
    if (!waited) onWait?.(other.split("-")[1] ?? "?");
    waited = true;
    await delay(POLL_MS, undefined, { signal }).catch(() => {});
    signal?.throwIfAborted();
  }
  try {
    return await body();
  } finally {
    if (holder(file) === me) rmSync(file, { force: true });
  }
}
