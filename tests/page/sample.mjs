// An answer with everything that Markdown has, to look at.
export const SAMPLE = `A **hash table** stores pairs of a key and a value, and finds a value by its key in *constant* time on average. It does so in two steps:

1. A **hash function** turns the key into a number.
2. That number, modulo the size of the table, is the *bucket* where the pair is kept.

Two keys may fall into one bucket. Here each bucket is a list:

\`\`\`python
class HashTable:
    """A table that chains colliding pairs."""

    def __init__(self, size: int = 64) -> None:
        self.buckets: list[list[tuple[str, int]]] = [[] for _ in range(size)]

    def __setitem__(self, key: str, value: int) -> None:
        bucket = self.buckets[hash(key) % len(self.buckets)]
        bucket[:] = [pair for pair in bucket if pair[0] != key] + [(key, value)]
\`\`\`

How the usual choices compare:

| Structure | Find | Insert | In order |
|:--|--:|--:|:-:|
| Hash table | O(1) | O(1) | no |
| Balanced tree | O(log n) | O(log n) | yes |
| Sorted array | O(log n) | O(n) | yes |

> The constant hides the cost of hashing: for short keys, a \`sorted array\` may well be faster.

See [the Python documentation](https://docs.python.org/3/library/stdtypes.html#dict) for how \`dict\` does it.
`;
