#include "team.h"

enum { SPINS = 20000 }; /* some 20 to 40 microseconds */

#if defined(__wasm__) && !defined(__wasm_atomics__)

void team_barrier(Team *team) { (void)team; }
void team_start(Team *team) { (void)team; }
void team_end(Team *team) { (void)team; }
int team_await(Team *team, int32_t last) {
  (void)team, (void)last;
  return 0;
}

#else

#if defined(__wasm__)
static void sleep_on(int32_t *word, int32_t value) { __builtin_wasm_memory_atomic_wait32(word, value, -1); }
static void wake_all(int32_t *word) { __builtin_wasm_memory_atomic_notify(word, UINT32_MAX); }
static void relax(void) {}
#elif defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
static void sleep_on(int32_t *word, int32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, (void *)0, (void *)0, 0);
}
static void wake_all(int32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, (void *)0, (void *)0, 0); }
#else
#include <sched.h>
static void sleep_on(int32_t *word, int32_t value) {
  (void)word, (void)value;
  sched_yield();
}
static void wake_all(int32_t *word) { (void)word; }
#endif

#if !defined(__wasm__)
static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
#endif

#define LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define ADD(p, v) __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)

/* Returns once *word is no longer `value`. Whoever changes it wakes us if we are counted among the sleepers. */
static void wait_while(int32_t *word, int32_t value, int32_t *sleepers) {
  for (int i = 0; i < SPINS; i++) {
    if (LOAD(word) != value) return;
    relax();
  }
  ADD(sleepers, 1);
  while (LOAD(word) == value) sleep_on(word, value);
  ADD(sleepers, -1);
}

void team_barrier(Team *team) {
  if (team->count < 2) return;
  int32_t phase = LOAD(&team->phase);
  if (ADD(&team->arrived, 1) == team->count) {
    STORE(&team->arrived, 0);
    ADD(&team->phase, 1);
    if (LOAD(&team->sleepers)) wake_all(&team->phase);
  } else {
    wait_while(&team->phase, phase, &team->sleepers);
  }
}

void team_start(Team *team) {
  if (team->count < 2) return;
  ADD(&team->job, 1);
  wake_all(&team->job);
}

int team_await(Team *team, int32_t last) {
  int32_t sleepers = 0;
  wait_while(&team->job, last, &sleepers);
  return !LOAD(&team->over);
}

void team_end(Team *team) {
  STORE(&team->over, 1);
  team_start(team);
}

#endif
