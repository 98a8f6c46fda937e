/* The Llama family's forward pass: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Touvron et al.,
 * 2302.13971), over weights in panels (panel.h) and a key-value cache of 8 bits in pages.
 * The oracle is pysrc/inglenook/elastic/reference.py.
 *
 * A prompt is read in chunks of up to 64 tokens; a token gives the same bits whichever way a prompt is cut, on every
 * build and with any number of threads, because no sum depends on any of these.
 *
 * A level says for each layer how many FFN neurons and key-value groups take part: weights are in panels of rows and
 * blocks of columns, so a smaller model is a prefix of the same bytes (ELMS, 2409.09071, section 3.1), and choosing it
 * is choosing another row of a table. What is left out is made up for by a bias and a product of low rank (section 3.2).
 */
#include "llama.h"

enum { TENSORS_BEFORE = 3, TENSORS_PER_LAYER = 9, WORDS_BEFORE = 8 };

static size_t round_up(size_t n) { return (n + 63) & ~(size_t)63; }

static void *take(char **at, size_t bytes) {
  void *p = *at;
  *at += round_up(bytes);
  return p;
}

static size_t local_floats(const Llama *m) {
  size_t most = attend_floats(m), gated = 2 * (size_t)CHUNK * UNIT, span = (size_t)CHUNK * SPAN;
  size_t low = acts_bytes(CHUNK, m->rank, UNIT) / sizeof(float);
  most = gated > most ? gated : most;
  most = low > most ? low : most;
  return span > most ? span : most;
}

/* Lays out everything that is not a weight from `base` on; returns its size. The pages come last: the memory of those
 * that nobody needed yet was never touched. */
static size_t lay_out(Llama *m, char *base) {
  char *at = base;
  size_t turns = sizeof(float) * (size_t)(m->context * m->head), sums = sizeof(float) * (size_t)(CHUNK * m->spans);
  m->size = take(&at, sizeof(Size) * (size_t)(m->levels * m->layers));
  m->held = take(&at, sizeof(int32_t) * (size_t)m->pages);
  m->cosine = take(&at, turns), m->sine = take(&at, turns);
  m->x = take(&at, sizeof(float) * (size_t)(CHUNK * m->width));
  m->qkv = take(&at, sizeof(float) * (size_t)(CHUNK * (m->width + 2 * m->kv_heads * m->head)));
  m->low = take(&at, sizeof(float) * (size_t)(CHUNK * m->rank));
  m->peaks = take(&at, sums), m->sums = take(&at, sums);
  m->attn_at = take(&at, acts_bytes(CHUNK, m->width, UNIT));
  m->ffn_at = take(&at, acts_bytes(CHUNK, m->hidden, UNIT));
  for (int i = 0; i < m->team.count; i++) m->local[i] = take(&at, sizeof(float) * local_floats(m));
  m->logits = take(&at, sizeof(float) * (size_t)MAX_EACH * (size_t)m->vocabulary);
  m->pool = take(&at, page_bytes(m) * (size_t)m->pages);
  return (size_t)(at - base);
}

/* How many words the levels take: of each its rank, the FFN neurons of each layer, the key-value groups of each layer. */
static int level_words(const Llama *m) { return m->levels * (1 + 2 * m->layers); }

/* Words: layers, width, hidden, heads, kv_heads, vocabulary, bits of epsilon, levels; those of the levels; then for each
 * layer the bits of its down matrix, 4 or 8. Returns 0 if the kernel cannot do it. */
static int read_words(Llama *m, const int32_t *words, int context, int pages, int threads) {
  __builtin_memset(m, 0, sizeof *m);
  m->layers = words[0], m->width = words[1], m->hidden = words[2], m->heads = words[3], m->kv_heads = words[4];
  m->vocabulary = words[5], m->levels = words[7];
  __builtin_memcpy(&m->epsilon, &words[6], 4);
  if (m->layers < 1 || m->layers > MAX_LAYERS || m->levels < 1 || m->levels > MAX_LEVELS || m->heads < 1 ||
      m->kv_heads < 1 || threads < 1 || threads > MAX_THREADS || context < 1 || pages < 1)
    return 0;
  m->head = m->width / m->heads, m->group = m->heads / m->kv_heads;
  m->context = (context + QUAD - 1) / QUAD * QUAD, m->pages = pages;
  m->spans = (m->vocabulary + SPAN - 1) / SPAN;
  m->team.count = threads;
  for (int i = 0; i < m->levels; i++) {
    const int32_t *level = words + WORDS_BEFORE + i * (1 + 2 * m->layers);
    if (level[0] < 0 || level[0] % UNIT) return 0;
    m->rank = level[0] > m->rank ? level[0] : m->rank;
    for (int l = 0; l < m->layers; l++) {
      int hidden = level[1 + l], groups = level[1 + m->layers + l];
      if (hidden < 0 || hidden > m->hidden || hidden % UNIT || groups < 0 || groups > m->kv_heads) return 0;
      if (i == 0 && (hidden < m->hidden || groups < m->kv_heads)) return 0; /* the whole model */
    }
  }
  const int32_t *bits = words + WORDS_BEFORE + level_words(m);
  for (int l = 0; l < m->layers; l++) {
    if (bits[l] != 4 && bits[l] != 8) return 0;
    m->layer[l].kind = bits[l] == 8 ? Q8 : Q4;
  }
  return m->head <= MAX_HEAD && m->head % UNIT == 0 && m->width % UNIT == 0 && m->hidden % UNIT == 0 &&
         m->vocabulary % PANEL == 0 && m->heads % m->kv_heads == 0;
}

/* Bytes llama_open needs at `arena`, 64-byte aligned and zero; 0 if this kernel cannot run such a model. `pages` of 64
 * positions are shared by all sessions, of which each has room for `context` positions. */
API size_t llama_bytes(const int32_t *words, int context, int pages, int threads) {
  Llama m;
  if (!read_words(&m, words, context, pages, threads)) return 0;
  return round_up(sizeof(Llama)) + lay_out(&m, (char *)0);
}

/* cos and sin of position * frequency, by turning step after step in double precision. */
static void fill_rotations(Llama *m, const double *step) {
  for (int i = 0; i < m->head / 2; i++) {
    double c = 1.0, s = 0.0, dc = step[2 * i], ds = step[2 * i + 1];
    for (int p = 0; p < m->context; p++) {
      float *cosine = m->cosine + (size_t)p * (size_t)m->head + 2 * i, *sine = m->sine + (cosine - m->cosine);
      cosine[0] = cosine[1] = (float)c;
      sine[0] = -(float)s, sine[1] = (float)s;
      double turned = c * dc - s * ds;
      s = s * dc + c * ds;
      c = turned;
    }
  }
}

/* The levels' sizes and what recovers them; `o` are the offsets of their tensors. */
static void fill_levels(Llama *m, const int32_t *words, const uint32_t *o, const uint8_t *file) {
  for (int i = 0; i < m->levels; i++, words += 1 + 2 * m->layers)
    for (int l = 0; l < m->layers; l++) {
      Size *size = &m->size[i * m->layers + l];
      *size = (Size){.hidden = words[1 + l], .groups = words[1 + m->layers + l]};
      if (i == 0) continue;
      size->bias = (const float *)(file + *o++);
      if (words[0] && size->hidden) {
        size->a = mat(file + *o++, words[0], size->hidden);
        size->b = mat(file + *o++, m->width, words[0]);
      }
    }
}

/* A model at `arena` over the weights of the file at `file`. offsets: where its tensors start, in the order
 * rotation (head / 2 pairs of cos and sin, double), embedding, norm, for each layer attn_norm, q, k, v, o, ffn_norm,
 * gate, up, down; then for each level but the first and each layer bias, and where the level has a rank and the layer
 * neurons, down_a and down_b. */
API Llama *llama_open(void *arena, const int32_t *words, const uint32_t *offsets, const uint8_t *file, int context,
                      int pages, int threads) {
  Llama *m = arena;
  if (!read_words(m, words, context, pages, threads)) return 0;
  lay_out(m, (char *)arena + round_up(sizeof(Llama)));
  int w = m->width, h = m->hidden, kv = m->kv_heads * m->head;
  fill_rotations(m, (const double *)(file + offsets[0]));
  m->embedding = mat(file + offsets[1], m->vocabulary, w);
  m->norm = (const float *)(file + offsets[2]);
  for (int i = 0; i < m->layers; i++) {
    const uint32_t *o = offsets + TENSORS_BEFORE + i * TENSORS_PER_LAYER;
    Layer *l = &m->layer[i];
    l->attn_norm = (const float *)(file + o[0]);
    l->q = mat(file + o[1], w, w), l->k = mat(file + o[2], kv, w), l->v = mat(file + o[3], kv, w);
    l->o = mat(file + o[4], w, w);
    l->o.banded = 1;
    l->ffn_norm = (const float *)(file + o[5]);
    l->gate = mat(file + o[6], h, w), l->up = mat(file + o[7], h, w), l->down = mat(file + o[8], w, h);
    l->down.banded = 1;
  }
  fill_levels(m, words + WORDS_BEFORE, offsets + TENSORS_BEFORE + m->layers * TENSORS_PER_LAYER, file);
  return m;
}

/* ── what the drivers call ─────────────────────────────────────────────────────────────────────────────────────────── */

static int pages_of(int positions) { return (positions + PAGE - 1) / PAGE; }

/* 0 if such a job of one session can be done, else the error llama_forward returns. */
static int refuse(const Llama *m, const int32_t *tokens, int n, int at, const int32_t *table, int level) {
  if (n < 1 || at < 0) return -1;
  if (n > m->context - at) return -2;
  if (level < 0 || level >= m->levels) return -4;
  for (int i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= m->vocabulary) return -3;
  for (int i = 0; i < pages_of(at + n); i++)
    if (table[i] < 0 || table[i] >= m->pages) return -4;
  for (int i = 0; i < pages_of(at); i++)
    if (m->held[table[i]] < (at - i * PAGE < PAGE ? at - i * PAGE : PAGE)) return -1;
  return 0;
}

/* Runs the tokens, with logits of the last `each`, of which the `top` best matter (after the last token, those that are
 * allowed); or, with `scores`, the log-probabilities of all but the first. */
static void run(Llama *m, const int32_t *tokens, int n, int at, const int32_t *table, int level, int each, int top,
                const uint8_t *allow, float *scores) {
  m->table = table, m->places = 0, m->stride = 0, m->active = m->size + level * m->layers;
  m->screened = level > 0 && !scores && top + MARGIN <= MAX_SCREENED;
  for (int done = 0; done < n; done += m->n) {
    int from = scores ? 0 : n - each - done, end = scores ? n - 1 - done : n - done;
    m->tokens = tokens + done, m->at = at + done;
    m->n = n - done < CHUNK ? n - done : CHUNK;
    m->first = from > 0 ? from : 0;
    m->rows = (end < m->n ? end : m->n) - m->first;
    m->rows = m->rows > 0 ? m->rows : 0;
    m->row = m->first - from;
    m->scores = scores ? scores + done : 0;
    team_start(&m->team);
    run_chunk(m, 0);
    for (int r = 0; scores && r < m->rows; r++) scores[done + r] -= head_total(m, r);
    for (int r = 0; m->screened && r < m->rows; r++) {
      head_confirm(m, r, top, 0);
      if (allow && m->row + r == each - 1) head_confirm(m, r, top, allow);
    }
    for (int p = m->at / PAGE; p * PAGE < m->at + m->n; p++) {
      int held = m->at + m->n - p * PAGE;
      m->held[table[p]] = held < PAGE ? held : PAGE;
    }
  }
}

/* The best of row `row`, filled up with -1. Returns how many there are. */
static int tell_row(const Llama *m, int row, int top, const uint8_t *allow, int32_t *ids, float *logits, float *total) {
  const float *all = m->logits + (size_t)row * (size_t)m->vocabulary;
  int count = head_best(all, m->vocabulary, top, allow, ids, logits);
  for (int i = count; i < top; i++) ids[i] = -1, logits[i] = -__builtin_inff();
  *total = head_total(m, row);
  return count;
}

/* Runs `n` tokens placed from position `at` on, at a level; `table` are the pages of positions 0 to at + n. Writes the
 * `top` best next tokens after each of the last `each` tokens, best first, filled up with -1; after the last token only
 * those in the bit set `allow` count (null: all). `totals` are the log-sum-exps of all logits. Returns how many there
 * are after the last token, or -1: the pages do not reach `at`; -2: no room in the context; -3: a token is not in the
 * vocabulary; -4: no such level, page or number of rows. */
API int llama_forward(Llama *m, const int32_t *tokens, int n, int at, const int32_t *table, int level, int top, int each,
                      const uint8_t *allow, int32_t *ids, float *logits, float *totals) {
  int wrong = refuse(m, tokens, n, at, table, level), count = 0;
  if (wrong) return wrong;
  if (each < 0 || each > MAX_EACH || each > n || top < 0 || top > m->vocabulary) return -4;
  run(m, tokens, n, at, table, level, each, top, allow, 0);
  for (int r = 0; r < each; r++)
    count = tell_row(m, r, top, r == each - 1 ? allow : 0, ids + r * top, logits + r * top, totals + r);
  return count;
}

/* Runs one token each of `n` sessions, at most MAX_EACH: token i stands at places[i], and its session's pages begin at
 * tables[i * stride]. The weights are read once for all (iteration-level batching: Orca, Yu et al., OSDI 2022, section
 * 3.2); each gets the bits that it gets alone. Bit set i of `allow`, `bytes` long each, counts where masked[i] is set.
 * Writes the `top` best after each, of all together ids, logits and totals as llama_forward. Returns 0, or the error
 * that llama_forward would return for the first that it refuses; -4, too, where two sessions would write to one page. */
API int llama_batch(Llama *m, const int32_t *tokens, int n, const int32_t *places, const int32_t *tables, int stride,
                    int level, int top, const int32_t *masked, const uint8_t *allow, int bytes, int32_t *ids,
                    float *logits, float *totals) {
  if (n < 1 || n > MAX_EACH || top < 0 || top > m->vocabulary) return -4;
  for (int i = 0; i < n; i++) {
    int wrong = refuse(m, tokens + i, 1, places[i], tables + i * stride, level);
    if (wrong) return wrong;
    for (int j = 0; j < i; j++)
      if (tables[i * stride + places[i] / PAGE] == tables[j * stride + places[j] / PAGE]) return -4;
  }
  m->tokens = tokens, m->table = tables, m->places = places, m->stride = stride;
  m->active = m->size + level * m->layers;
  m->n = m->rows = n, m->at = m->first = m->row = 0, m->scores = 0;
  m->screened = level > 0 && top + MARGIN <= MAX_SCREENED;
  team_start(&m->team);
  run_chunk(m, 0);
  for (int i = 0; i < n; i++, ids += top, logits += top) {
    const uint8_t *own = masked[i] ? allow + i * bytes : 0;
    if (m->screened) head_confirm(m, i, top, 0);
    if (m->screened && own) head_confirm(m, i, top, own);
    tell_row(m, i, top, own, ids, logits, totals + i);
    m->held[tables[i * stride + places[i] / PAGE]] = places[i] % PAGE + 1;
  }
  return 0;
}

/* Runs tokens as llama_forward does, and writes the log-probability of each but the first, given those before it. */
API int llama_score(Llama *m, const int32_t *tokens, int n, int at, const int32_t *table, int level, float *scores) {
  int wrong = refuse(m, tokens, n, at, table, level);
  if (!wrong) run(m, tokens, n, at, table, level, 0, 0, 0, scores);
  return wrong;
}

/* Makes page `to` hold what page `from` holds. */
API int llama_copy(Llama *m, int from, int to) {
  if (from < 0 || from >= m->pages || to < 0 || to >= m->pages || from == to) return -4;
  __builtin_memcpy(m->pool + (size_t)to * page_bytes(m), m->pool + (size_t)from * page_bytes(m), page_bytes(m));
  m->held[to] = m->held[from];
  return 0;
}

/* All logits of row `row` of the last forward: a test looks at them. */
API const float *llama_logits(const Llama *m, int row) { return m->logits + (size_t)row * (size_t)m->vocabulary; }

/* Reads `bytes` bytes with all threads: what a decoded token cannot be faster than. */
API void llama_read(Llama *m, const uint8_t *from, size_t bytes) {
  m->read = from, m->bytes = bytes;
  team_start(&m->team);
  run_chunk(m, 0);
  m->read = 0;
}

/* A thread's life, for me = 1, 2, …: it ends after llama_close. */
API void llama_thread(Llama *m, int me) {
  for (int32_t job = 0; team_await(&m->team, job); job++) run_chunk(m, me);
}

API void llama_close(Llama *m) { team_end(&m->team); }
