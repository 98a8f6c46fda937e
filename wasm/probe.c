/* One matrix product from outside, for tests: everything a forward pass does with weights, at any shape. */
#include "panel.h"

/* Bytes of scratch models_multiply needs. */
API size_t models_scratch(int kind, int cols, int tokens) { return acts_bytes(tokens, cols, block_of((Kind)kind)); }

/* out (tokens, rows) = x (tokens, first) times the first columns of a packed matrix; kind is that of panel.h. */
API void models_multiply(int kind, int banded, const uint8_t *packed, int rows, int cols, int first, const float *x, int tokens, void *scratch,
                         float *out) {
  Acts acts;
  Mat m = {packed, rows, cols, banded};
  acts_place(&acts, scratch, tokens, first, (Kind)kind);
  for (int t = 0; t < tokens; t++) acts_set(&acts, t, x + t * first, 0, first);
  multiply((Kind)kind, &m, &acts, 0, out, rows, 0, 0, rows / PANEL);
}
