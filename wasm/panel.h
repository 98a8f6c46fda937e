/* Matrix products: weights of 4, 7 or 8 bits in panels of 8 rows, times activations of 8 (or 7) bits.
 *
 * A weight matrix (rows x cols) is cut into panels of 8 rows, a panel into blocks of columns, and everything about a
 * block lies together, so that one pass over the bytes feeds 8 rows at once and no sum across lanes is needed:
 *
 *   Q4   32 columns   8 scales, 8 minima (half floats), then 8 groups of 16 bytes          w = scale * q + minimum
 *   Q7   64 columns   8 scales (half floats), then 16 groups of 32 bytes                   w = scale * (q - 64)
 *   Q8   32 columns   8 scales (half floats), then 8 groups of 32 bytes                    w = scale * (q - 128)
 *
 * The weights of Q8 may stand in two planes instead: the high 4 bits of all panels, in blocks of 8 scales and 8 groups of
 * 16 bytes, then the low 4 bits of all, 8 groups of 16 bytes a block. PLANES reads both, and gives what Q8 gives, bit by
 * bit; HIGH reads the first alone, half as much, and takes the middle of what the low bits may be.
 *
 * A group is 4 columns of 8 rows, a byte (row, column) at 4 * row + column; in Q4 (and in planes) the low nibbles are
 * rows 0..3 and the high ones rows 4..7. Quantised activations are cut into the same blocks, each with a scale.
 *
 * Of a matrix of which a pass may need the first columns alone, BAND blocks of all panels stand together, then the next
 * ones: a prefix of the columns is a prefix of the bytes, but for a part of the last band. (Skipping the rest of each
 * panel costs more than reading it: memory is fast only where it is read on and on.)
 *
 * Sums stay in 16 bits as long as they fit: Q4 for a block (8 groups * 2 * 15 * 127 = 30,480), Q8 as two planes of 4
 * bits, Q7 for a block with activations of 7 bits, because its weights are made so (kernels/pack.py): a 16-bit lane adds
 * up 2 columns of each group, and its 32 |q - 64| sum to 520 at most (520 * 63 = 32,760). What the 64 takes away stands
 * in the lane from the start; that the sums wrap on their way does not matter. So a product takes two instructions for
 * 16 columns and rows, where 32-bit sums take five on processors without VNNI.
 */
#ifndef PANEL_H
#define PANEL_H

#include "vec.h"

typedef enum { Q4, Q7, Q8, PLANES, HIGH } Kind;
enum { GROUP = 4, TILE = 4, BAND = 6 }; /* columns in a group; tokens in a tile; blocks in a band */
enum { LOW = 128 };                     /* bytes of a block of the low plane */

INLINE int block_of(Kind kind) { return kind == Q7 ? 64 : 32; }
INLINE size_t block_bytes(Kind kind) { return kind == Q4 ? 160 : kind == Q7 ? 528 : kind == Q8 ? 272 : 144; }

typedef struct {
  const uint8_t *data;
  int rows, cols;
  int banded; /* whether it stands in bands */
} Mat;

INLINE Mat mat(const void *data, int rows, int cols) { return (Mat){data, rows, cols, 0}; }

/* Activations of `tokens` tokens, `cols` wide. They lie in tiles of 4, 2 and 1 tokens: tile, block, group, token. */
typedef struct {
  int8_t *q;    /* tokens * cols * ACT / GROUP bytes */
  float *scale; /* tokens * cols / block */
  float *sum;   /* scale * sum of the block's q; for Q7 the bits of two 16-bit lanes, -64 * their sums of q */
  int tokens, cols, block;
  Kind kind;
} Acts;

/* Bytes a set of activations needs, and its place in memory at `at` (64-byte aligned). */
size_t acts_bytes(int tokens, int cols, int block);
void acts_place(Acts *a, void *at, int tokens, int cols, Kind kind);

/* Quantises columns [from, to) of token `t`, given as x[0 .. to - from); multiples of the block. */
void acts_set(Acts *a, int t, const float *x, int from, int to);

/* out[t * stride + i] = (add: +=) row · token t (+ bias[row]) for all tokens and the rows of panels [from, to), where i
 * counts rows from the first of them. The first a->cols columns of the matrix take part. bias may be null. */
void multiply(Kind kind, const Mat *m, const Acts *a, const float *bias, float *out, int stride, int add, int from,
              int to);

/* Row `row` of the matrix as floats. */
void unpack_row(Kind kind, const Mat *m, int row, float *out);

#endif
