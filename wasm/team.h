/* A few threads that walk through one computation in step.
 *
 * Every member runs the same function; team_barrier() holds each until all have come. Waiting starts with a short spin,
 * because the next phase is usually microseconds away, and then sleeps, because the machine may be busy. With one
 * member nothing here costs anything, and builds without atomics have only that.
 */
#ifndef TEAM_H
#define TEAM_H

#include <stdint.h>

typedef struct {
  int32_t count;    /* members */
  int32_t arrived;  /* at the barrier */
  int32_t phase;    /* barriers passed */
  int32_t sleepers; /* members asleep at the barrier */
  int32_t job;      /* jobs handed out; members wait for it to change */
  int32_t over;     /* no more jobs */
} Team;

void team_barrier(Team *team);

/* Member 0: starts the next job in the others. */
void team_start(Team *team);

/* Members 1..: waits for job number `last` + 1. Returns 0 when there will be none. */
int team_await(Team *team, int32_t last);

/* The others leave for good. */
void team_end(Team *team);

#endif
