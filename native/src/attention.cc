#include "attention.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace pl {
namespace {

// Queries that go through the keys together: enough that unpacking a block of keys costs little beside what is done with
// it, few enough that threads find work.
constexpr int64_t kMostQueries = 64;

// Arrays for one block of keys and values, of each thread, and as large as its largest model wanted.
struct Scratch {
  std::vector<float> rows;    // (kAttentionKeys, head_dim)
  std::vector<float> keys;    // (head_dim, kAttentionKeys)
  std::vector<float> values;  // (kAttentionKeys, value_stride)
};

Scratch& scratch(int64_t head_dim, int64_t value_stride) {
  static thread_local Scratch s;
  const auto grow = [](std::vector<float>& v, int64_t n) {
    if (v.size() < static_cast<size_t>(n)) v.resize(static_cast<size_t>(n));
  };
  grow(s.rows, kAttentionKeys * head_dim);
  grow(s.keys, kAttentionKeys * head_dim);
  grow(s.values, kAttentionKeys * value_stride);
  return s;
}

// Items of one sequence that follow each other in the batch.
struct Run {
  const Item* items;
  int64_t first;   // of the items, in the batch
  int64_t n;
  int64_t pieces;  // of work, of this run and of those before it
};

struct Attention {
  const Config& c;
  const KvCache& cache;
  const Kernels& k;
  int64_t layer;
  const float* sinks;
  const float* q;
  float* out;

  int64_t share() const { return c.n_heads / c.n_kv_heads; }
  int64_t first_seen(const Item& item) const {
    return c.slides(layer) ? std::max<int64_t>(0, item.pos - c.window + 1) : 0;
  }

  // The block of keys and values that begins at position `at`, `n` of them, with some queries.
  void attend_block(int64_t seq, int64_t kv_head, int64_t at, int64_t n, const AttentionQuery* queries, int64_t n_queries) const {
    const std::byte *const keys = cache.key_block(layer, seq, kv_head, at), *const values = cache.value(layer, seq, kv_head, at);
    // Rows of values are whole vectors of any ISA, so that none is read in part.
    const int64_t value_stride = (c.value_dim + 15) / 16 * 16;
    if (cache.type() == Type::F16 && n_queries <= k.few_queries && value_stride == c.value_dim) {
      k.attend_halves({reinterpret_cast<const uint16_t*>(keys), reinterpret_cast<const uint16_t*>(values), c.head_dim, c.value_dim,
                       value_stride, c.attn_scale, c.attn_soft_cap},
                      queries, n_queries);
    } else {
      k.attend_block(unpack(keys, values, n, value_stride), queries, n_queries);
    }
  }

  // n keys and their values as floats, in this thread's arrays.
  AttentionBlock unpack(const std::byte* keys, const std::byte* values, int64_t n, int64_t value_stride) const {
    Scratch& s = scratch(c.head_dim, value_stride);
    cache.unpack_keys(k, keys, n, s.rows.data(), s.keys.data());
    if (value_stride == c.value_dim) {
      cache.unpack(k, values, s.values.data(), n * c.value_dim);
    } else {
      for (int64_t j = 0; j < n; ++j) {
        cache.unpack(k, values + j * cache.value_bytes(), s.values.data() + j * value_stride, c.value_dim);
      }
    }
    return {s.keys.data(), s.values.data(), c.head_dim, c.value_dim, value_stride, c.attn_scale, c.attn_soft_cap};
  }

  // The queries [begin, end) of a run to one KV head; query i belongs to item i / share(). The order of additions depends
  // on positions alone: blocks of keys are counted from position 0, and no query sees what others do.
  void attend(const Run& run, int64_t kv_head, int64_t begin, int64_t end) const {
    AttentionQuery queries[kMostQueries];
    float top[kMostQueries], sum[kMostQueries];
    int64_t first = std::numeric_limits<int64_t>::max(), last = 0;
    for (int64_t i = begin; i < end; ++i) {
      const Item& item = run.items[i / share()];
      const int64_t head = kv_head * share() + i % share(), row = (run.first + i / share()) * c.n_heads + head, at = i - begin;
      top[at] = sinks ? sinks[head] : -std::numeric_limits<float>::infinity();
      sum[at] = sinks ? 1.0f : 0.0f;
      const float slope = c.alibi_slopes.empty() ? 0.0f : c.alibi_slopes[static_cast<size_t>(head)];
      queries[at] = {q + row * c.head_dim, out + row * c.value_dim, &top[at], &sum[at], 0, 0, slope, 0};
      std::fill_n(queries[at].out, c.value_dim, 0.0f);
      first = std::min(first, first_seen(item)), last = std::max<int64_t>(last, item.pos);
    }
    for (int64_t block = first / kAttentionKeys * kAttentionKeys; block <= last; block += kAttentionKeys) {
      for (int64_t i = begin; i < end; ++i) {
        const Item& item = run.items[i / share()];
        AttentionQuery& query = queries[i - begin];
        query.first = std::clamp<int64_t>(first_seen(item) - block, 0, kAttentionKeys);
        query.end = std::clamp<int64_t>(item.pos + 1 - block, query.first, kAttentionKeys);
        query.behind = item.pos - block;
      }
      const int64_t n = std::min(kAttentionKeys, last + 1 - block);
      attend_block(run.items[0].seq, kv_head, block, n, queries, end - begin);
    }
    for (int64_t i = 0; i < end - begin; ++i) k.scale(queries[i].out, 1.0f / sum[i], c.value_dim);
  }
};

}  // namespace

void store(const Config& c, KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch, const float* k,
           const float* v) {
  const Kernels& table = ops.kernels();
  const auto n = static_cast<int64_t>(batch.size());
  // By heads: neighbouring positions share lines of the caches, which threads should not. A few tokens one thread does alone.
  ops.pool().parallel_for(c.n_kv_heads, n <= 8 ? c.n_kv_heads : 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      for (int64_t i = 0; i < n; ++i) {
        const Item& item = batch[static_cast<size_t>(i)];
        cache.put_key(table, k + i * c.kv_dim() + head * c.head_dim, layer, item.seq, head, item.pos);
        cache.pack(table, v + i * c.v_dim() + head * c.value_dim, cache.value(layer, item.seq, head, item.pos), c.value_dim);
      }
    }
  });
}

void attend(const Config& c, const KvCache& cache, Ops& ops, int64_t layer, std::span<const Item> batch,
            const float* sinks, const float* q, float* out) {
  const Attention attention{c, cache, ops.kernels(), layer, sinks, q, out};
  const auto n = static_cast<int64_t>(batch.size());
  // About four pieces for each thread, so that one that is slow does not hold up the others.
  const int64_t all = n * c.n_heads, wished = all / (int64_t{4} * ops.pool().threads());
  const int64_t together = std::clamp<int64_t>(wished, 12, kMostQueries);
  static thread_local std::vector<Run> runs;
  runs.clear();
  int64_t pieces = 0;
  for (int64_t begin = 0, end = 0; begin < n; begin = end) {
    while (end < n && batch[static_cast<size_t>(end)].seq == batch[static_cast<size_t>(begin)].seq) ++end;
    pieces += ((end - begin) * attention.share() + together - 1) / together * c.n_kv_heads;
    runs.push_back({batch.data() + begin, begin, end - begin, pieces});
  }
  const std::span<const Run> all_runs = runs;  // the workers' own `runs` are others
  ops.pool().parallel_for(pieces, 1, [&](int64_t from, int64_t to) {
    for (int64_t piece = from; piece < to; ++piece) {
      // The last pieces of a text see the most keys: they go first.
      const int64_t at = pieces - 1 - piece;
      const Run& run = *std::find_if(all_runs.begin(), all_runs.end(), [at](const Run& r) { return at < r.pieces; });
      const int64_t queries = run.n * attention.share(), parts = (queries + together - 1) / together;
      const int64_t in_run = at - (run.pieces - parts * c.n_kv_heads), part = in_run / c.n_kv_heads;
      attention.attend(run, in_run % c.n_kv_heads, part * together, std::min(queries, (part + 1) * together));
    }
  });
}

}  // namespace pl
