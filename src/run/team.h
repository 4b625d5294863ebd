/* team.h: threads that help the caller's. */
#ifndef BBI_TEAM_H
#define BBI_TEAM_H

#include "base.h"

/* Between these the helpers of this thread live on from one call of bbi_team_work to the next; the last leave, of those that
 * are nested, ends them. */
void bbi_team_enter(void);
void bbi_team_leave(void);
/* Between this and the next enter: what is called is the last of the calls that share helpers, as if nobody had entered. */
void bbi_team_pass(void);
/* function(argument, -1) here and, side by side, function(argument, k) in helpers k < wanted, each at most once; none where
 * it comes late, or cannot be had. The function takes its share of the work by itself. All have ended on return. last: of
 * those between the outermost enter and its leave; helpers end as soon as they have done their share. */
void bbi_team_work(int64_t wanted, bool last, void (*function)(void *argument, int64_t helper), void *argument);

#endif
