/* The parts of a layer and the pass through all of them. `me` is the thread's number; work is cut into ranges or dealt out
 * by token. */
#include "llama.h"

static void rms_norm(const Llama *m, const float *x, const float *weight, float *out) {
  F4 squares = f4(0.0f);
  for (int i = 0; i < m->width; i += 4) squares += f4_load(x + i) * f4_load(x + i);
  float scale = 1.0f / root(f4_sum(squares) / (float)m->width + m->epsilon);
  for (int i = 0; i < m->width; i += 4) f4_store(out + i, f4_load(x + i) * scale * f4_load(weight + i));
}

/* Norms and quantises the tokens dealt to me, of the `n` from token `first` on. */
static void norm_tokens(Llama *m, int me, const float *weight, int first, int n) {
  for (int t = me; t < n; t += m->team.count) {
    rms_norm(m, m->x + (size_t)(first + t) * (size_t)m->width, weight, m->local[me]);
    acts_set(&m->attn, t, m->local[me], 0, m->width);
  }
}

/* gate, up and SiLU for units of 32 neurons; the result is quantised as it comes. */
static void gate_units(Llama *m, const Layer *l, int hidden, int me) {
  int from, to;
  float *gate = m->local[me], *up = gate + CHUNK * UNIT;
  share(m, me, hidden / UNIT, &from, &to);
  for (int u = from; u < to; u++) {
    int first = u * (UNIT / PANEL), end = first + UNIT / PANEL;
    multiply(Q4, &l->gate, &m->attn, 0, gate, UNIT, 0, first, end);
    multiply(Q4, &l->up, &m->attn, 0, up, UNIT, 0, first, end);
    for (int i = 0; i < m->n * UNIT; i += 4) f4_store(gate + i, f4_silu(f4_load(gate + i)) * f4_load(up + i));
    for (int t = 0; t < m->n; t++) acts_set(&m->ffn, t, gate + t * UNIT, u * UNIT, (u + 1) * UNIT);
  }
}

/* My rows of weights times the activations, written (or added) to out. */
static void my_rows(Llama *m, int me, Kind kind, const Mat *w, int rows, const Acts *a, const float *bias, float *out,
                    int stride, int add) {
  int from, to;
  share(m, me, rows / PANEL, &from, &to);
  multiply(kind, w, a, bias, out + from * PANEL, stride, add, from, to);
}

/* The product of low rank: m->low is `down_a` times the activations already. Each member quantises it for itself. */
static void recover(Llama *m, const Size *size, int me) {
  Acts low;
  acts_place(&low, m->local[me], m->n, size->a.rows, Q4);
  for (int t = 0; t < m->n; t++) acts_set(&low, t, m->low + t * size->a.rows, 0, size->a.rows);
  my_rows(m, me, Q4, &size->b, m->width, &low, 0, m->x, m->width, 1);
}

static void attention(Llama *m, int layer, int groups, int me) {
  const Layer *l = &m->layer[layer];
  int active = groups * m->head, kv = m->kv_heads * m->head, stride = m->width + 2 * kv;
  if (me == 0) acts_place(&m->attn, m->attn_at, m->n, m->width, Q4);
  team_barrier(&m->team);
  norm_tokens(m, me, l->attn_norm, 0, m->n);
  team_barrier(&m->team);
  my_rows(m, me, Q4, &l->q, active * m->group, &m->attn, 0, m->qkv, stride, 0);
  my_rows(m, me, Q4, &l->k, active, &m->attn, 0, m->qkv + m->width, stride, 0);
  my_rows(m, me, Q4, &l->v, active, &m->attn, 0, m->qkv + m->width + kv, stride, 0);
  team_barrier(&m->team);
  if (me == 0) acts_place(&m->attn, m->attn_at, m->n, active * m->group, Q4);
  remember(m, layer, groups, me, stride);
  team_barrier(&m->team);
  attend_all(m, layer, groups, me, stride);
  team_barrier(&m->team);
  my_rows(m, me, Q4, &l->o, m->width, &m->attn, 0, m->x, m->width, 1);
  team_barrier(&m->team);
}

static void feed_forward(Llama *m, const Layer *l, const Size *size, int me) {
  if (me == 0) {
    acts_place(&m->attn, m->attn_at, m->n, m->width, Q4);
    acts_place(&m->ffn, m->ffn_at, m->n, size->hidden, Q4);
  }
  team_barrier(&m->team);
  norm_tokens(m, me, l->ffn_norm, 0, m->n);
  team_barrier(&m->team);
  gate_units(m, l, size->hidden, me);
  team_barrier(&m->team);
  my_rows(m, me, l->kind, &l->down, m->width, &m->ffn, size->bias, m->x, m->width, 1);
  if (size->a.rows) {
    my_rows(m, me, Q4, &size->a, size->a.rows, &m->ffn, 0, m->low, size->a.rows, 0);
    team_barrier(&m->team);
    recover(m, size, me);
  }
  team_barrier(&m->team);
}

/* What a layer without any neuron adds. */
static void add_bias(Llama *m, const float *bias, int me) {
  for (int t = me; t < m->n; t += m->team.count)
    for (int i = 0; i < m->width; i += 4) {
      float *x = m->x + (size_t)t * (size_t)m->width + i;
      f4_store(x, f4_load(x) + f4_load(bias + i));
    }
  team_barrier(&m->team);
}

/* Reads my share of m->read, 64 bytes at a time: how fast can weights come? */
static void read_through(Llama *m, int me) {
  int from, to;
  I4 sums[4] = {i4(0), i4(0), i4(0), i4(0)};
  share(m, me, (int)(m->bytes / 4096), &from, &to);
  for (const uint8_t *p = m->read + (size_t)from * 4096, *end = m->read + (size_t)to * 4096; p < end; p += 64)
    UNROLL for (int i = 0; i < 4; i++) sums[i] ^= READ(I4, p + 16 * i);
  I4 all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  WRITE(m->local[me], all);
  team_barrier(&m->team);
}

/* One chunk of up to 64 tokens through all layers, and the logits of those for which they are wanted. */
void run_chunk(Llama *m, int me) {
  if (m->read) {
    read_through(m, me);
    return;
  }
  int first = m->first, rows = m->rows; /* after the barrier that ends a chunk, the job may already be the next one */
  for (int t = me; t < m->n; t += m->team.count)
    unpack_row(PLANES, &m->embedding, m->tokens[t], m->x + (size_t)t * (size_t)m->width);
  for (int i = 0; i < m->layers; i++) {
    const Size *size = &m->active[i];
    if (size->groups) attention(m, i, size->groups, me);
    if (size->hidden) feed_forward(m, &m->layer[i], size, me);
    else if (size->bias) add_bias(m, size->bias, me);
  }
  if (!rows) return;
  if (me == 0) acts_place(&m->attn, m->attn_at, rows, m->width, PLANES);
  if (rows > 1) team_barrier(&m->team);
  norm_tokens(m, me, m->norm, first, rows);
  team_barrier(&m->team);
  head_rows(m, me, rows);
  team_barrier(&m->team);
}
