/* Logits, and what is made of them: the best, their log-sum-exp, the log-probabilities of given tokens.
 *
 * The head's rows are cut into spans of SPAN, whose sums are added up in their order: the same bits from any number of
 * threads.
 *
 * Of a small model the head is the largest part, and no level makes it smaller. So below the whole model it is screened:
 * all rows by their high 4 bits, half of the bytes, then by all bits those that may be among the best. The best logits
 * are what the whole head gives, as far as they were among those that were looked at; what the others differ by shows in
 * the log-sum-exp alone. Ours, after what the index does with vectors (codes steer, vectors confirm). */
#include "llama.h"

/* The peak of n values, and the sum of their e^(x - peak). */
static void sum_up(const float *x, int n, float *peak, float *sum) {
  F4 peaks = f4(-3.0e38f), total = f4(0.0f);
  for (int i = 0; i < n; i += 4) peaks = f4_max(peaks, f4_load(x + i));
  *peak = f4_peak(peaks);
  for (int i = 0; i < n; i += 4) total += f4_exp(f4_load(x + i) - *peak);
  *sum = f4_sum(total);
}

/* My spans of the head, for `rows` tokens. Only scored, logits live for a span; else they are kept from m->row on. */
void head_rows(Llama *m, int me, int rows) {
  int from, to, stride = m->scores ? SPAN : m->vocabulary;
  share(m, me, m->spans, &from, &to);
  for (int s = from; s < to; s++) {
    int first = s * SPAN, n = m->vocabulary - first < SPAN ? m->vocabulary - first : SPAN;
    float *out = m->scores ? m->local[me] : m->logits + (size_t)m->row * (size_t)stride + first;
    multiply(m->screened ? HIGH : PLANES, &m->embedding, &m->attn, 0, out, stride, 0, first / PANEL,
             (first + n) / PANEL);
    for (int r = 0; r < rows; r++) {
      const float *x = out + (size_t)r * (size_t)stride;
      size_t at = (size_t)(m->scores ? r : m->row + r) * (size_t)m->spans + (size_t)s;
      sum_up(x, n, &m->peaks[at], &m->sums[at]);
      if (m->scores) { /* the job goes on after its last token with none */
        int following = m->tokens[m->first + r + 1] - first;
        if (following >= 0 && following < n) m->scores[r] = x[following];
      }
    }
  }
}

/* Log-sum-exp of row `row`. */
float head_total(const Llama *m, int row) {
  const float *peaks = m->peaks + (size_t)row * (size_t)m->spans, *sums = m->sums + (peaks - m->peaks);
  float peak = peaks[0], total = 0.0f;
  for (int s = 1; s < m->spans; s++) peak = peaks[s] > peak ? peaks[s] : peak;
  for (int s = 0; s < m->spans; s++) total += sums[s] * f4_exp(f4(peaks[s] - peak))[0];
  return peak + f4_log(f4(total))[0];
}

/* ── the best: a heap with the worst of them at its root ───────────────────────────────────────────────────────────── */

static int worse(const float *logits, int a, int b) { return logits[a] < logits[b] || (logits[a] == logits[b] && a > b); }

static void sink(const float *logits, int32_t *heap, int size, int slot, int id) {
  for (int child = 2 * slot + 1; child < size; child = 2 * slot + 1) {
    if (child + 1 < size && worse(logits, heap[child + 1], heap[child])) child++;
    if (worse(logits, id, heap[child])) break;
    heap[slot] = heap[child];
    slot = child;
  }
  heap[slot] = id;
}

static int allowed(const uint8_t *allow, int id) { return !allow || (allow[id >> 3] >> (id & 7) & 1); }

/* The `top` best of `count` logits among those in the bit set `allow` (null: all), best first. Returns how many. */
int head_best(const float *logits, int count, int top, const uint8_t *allow, int32_t *ids, float *values) {
  int size = 0, id = 0;
  for (; id < count && size < top; id++)
    if (allowed(allow, id)) ids[size++] = id;
  for (int i = size / 2 - 1; i >= 0; i--) sink(logits, ids, size, i, ids[i]);
  for (; id < count; id++) {
    if (id % 4 == 0) { /* four that are no better than the worst are passed over together */
      while (id < count && !i4_any(f4_load(logits + id) > logits[ids[0]])) id += 4;
      if (id >= count) break;
    }
    if (logits[id] > logits[ids[0]] && allowed(allow, id)) sink(logits, ids, size, 0, id);
  }
  for (int left = size - 1; left > 0; left--) { /* heap sort: the worst goes to the end */
    int32_t last = ids[left];
    ids[left] = ids[0];
    sink(logits, ids, left, 0, last);
  }
  for (int i = 0; i < size; i++) values[i] = logits[ids[i]];
  return size;
}

/* Logits by all bits of those that may be among the `top` best of row `row` of the chunk (`allow` as for head_best), and
 * of their neighbours in the panel, once head_rows has screened them. */
void head_confirm(Llama *m, int row, int top, const uint8_t *allow) {
  float *logits = m->logits + (size_t)(m->row + row) * (size_t)m->vocabulary, *values = m->local[0];
  float *exact = values + MAX_SCREENED;
  int32_t *ids = (int32_t *)(exact + MAX_EACH * PANEL);
  size_t at = (size_t)(m->row + row) * (size_t)m->spans;
  int count = head_best(logits, m->vocabulary, top + MARGIN, allow, ids, values);
  for (int i = 0; i < count; i++) {
    int panel = ids[i] / PANEL;
    multiply(PLANES, &m->embedding, &m->attn, 0, exact, PANEL, 0, panel, panel + 1);
    __builtin_memcpy(logits + panel * PANEL, exact + row * PANEL, PANEL * sizeof(float));
  }
  for (int s = 0; s < m->spans; s++) {
    int n = m->vocabulary - s * SPAN < SPAN ? m->vocabulary - s * SPAN : SPAN, touched = 0;
    for (int i = 0; i < count && !touched; i++) touched = ids[i] / SPAN == s;
    if (touched) sum_up(logits + s * SPAN, n, &m->peaks[at + (size_t)s], &m->sums[at + (size_t)s]);
  }
}
