/* team.c: threads that help the caller's. They are started when a run first has work for them, wait between its regions, and
 * end with it. A child that a callback of the run forks has none of them, and starts its own. On a virtual machine a thread begins its work 0.3 ms after it
 * was started: as long as many a region takes. A region is therefore closed to those that have not come when the
 * caller has finished, instead of waiting for them. */
#include "team.h"

#include <stdatomic.h>

enum { SPINS = 1000 }; /* looks for the next region, some tens of microseconds, before a helper sleeps */

typedef struct member {
    struct team *team;
    int64_t number;
    bbi_thread *thread;
} member;

typedef struct team {
    bbi_mutex *mutex;
    bbi_condition *change;
    void (*function)(void *argument, int64_t helper); /* of the region that is open; NULL: none is */
    void *argument;
    bool last;
    int64_t wanted, inside;
    _Atomic int64_t opened; /* regions so far; -1: the team ends */
    member **members;
    int64_t count;
    int64_t process; /* whose threads the helpers are */
    bool busy;       /* the caller is inside */
} team;

static _Thread_local team *current;
static _Thread_local int64_t depth;

static void spin(const team *t, int64_t seen) {
    for (int k = 0; k < SPINS && atomic_load_explicit(&t->opened, memory_order_relaxed) == seen; k++) {
#if defined __x86_64__ || defined __i386__
        __builtin_ia32_pause();
#endif
    }
}

static void serve(void *argument) {
    const member *m = argument;
    team *t = m->team;
    bbi_mutex_lock(t->mutex);
    for (int64_t seen = 0; t->opened >= 0;) {
        if (t->opened == seen || !t->function || m->number >= t->wanted) {
            seen = t->opened;
            bbi_condition_wait(t->change, t->mutex);
            continue;
        }
        seen = t->opened;
        void (*function)(void *, int64_t) = t->function;
        void *of = t->argument;
        t->inside++;
        bbi_mutex_unlock(t->mutex);
        function(of, m->number);
        bbi_mutex_lock(t->mutex);
        if (--t->inside == 0 && !t->function) bbi_condition_wake_all(t->change);
        const bool last = t->last;
        bbi_mutex_unlock(t->mutex);
        if (last) return;
        spin(t, seen);
        bbi_mutex_lock(t->mutex);
    }
    bbi_mutex_unlock(t->mutex);
}

static void free_team(team *t) {
    if (!t) return;
    bbi_condition_free(t->change);
    bbi_mutex_free(t->mutex);
    bbi_free(t->members);
    bbi_free(t);
}

static team *new_team(void) {
    team *t = bbi_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->mutex = bbi_mutex_new();
    t->change = bbi_condition_new();
    t->process = bbi_process_id();
    if (t->mutex && t->change) return t;
    free_team(t);
    return NULL;
}

/* As many helpers as can be had. */
static void grow(team *t, int64_t wanted) {
    if (t->count >= wanted) return;
    member **members = bbi_realloc(t->members, (size_t)wanted * sizeof *members);
    if (!members) return;
    t->members = members;
    while (t->count < wanted) {
        member *m = bbi_alloc(sizeof *m);
        if (!m) return;
        *m = (member){.team = t, .number = t->count};
        m->thread = bbi_thread_start(serve, m);
        if (!m->thread) {
            bbi_free(m);
            return;
        }
        members[t->count++] = m;
    }
}

static void end_team(team *t) {
    bbi_mutex_lock(t->mutex);
    t->function = NULL;
    t->opened = -1;
    bbi_condition_wake_all(t->change);
    bbi_mutex_unlock(t->mutex);
    for (int64_t k = 0; k < t->count; k++) {
        bbi_thread_join(t->members[k]->thread);
        bbi_free(t->members[k]);
    }
    free_team(t);
}

void bbi_team_enter(void) { depth++; }

void bbi_team_pass(void) { depth--; }

/* NULL: none. What belongs to a parent process is left as it is: its lock may be held for ever. */
static team *own_team(void) {
    if (current && current->process != bbi_process_id()) current = NULL;
    return current;
}

void bbi_team_leave(void) {
    if (--depth > 0) return;
    team *t = own_team();
    if (!t) return;
    current = NULL;
    end_team(t);
}

static void open_region(team *t, int64_t wanted, bool last, void (*function)(void *, int64_t), void *argument) {
    bbi_mutex_lock(t->mutex);
    t->function = function;
    t->argument = argument;
    t->wanted = wanted;
    t->last = last;
    t->opened++;
    bbi_condition_wake_all(t->change);
    bbi_mutex_unlock(t->mutex);
}

static void close_region(team *t) {
    bbi_mutex_lock(t->mutex);
    t->function = NULL;
    while (t->inside > 0) bbi_condition_wait(t->change, t->mutex);
    bbi_mutex_unlock(t->mutex);
}

void bbi_team_work(int64_t wanted, bool last, void (*function)(void *argument, int64_t helper), void *argument) {
    bbi_team_enter();
    team *t = wanted > 0 ? own_team() : NULL;
    if (wanted > 0 && !t) t = current = new_team();
    if (t && !t->busy) { /* busy: a callback of the run began another run */
        t->busy = true;
        last = last && depth <= 2;
        open_region(t, wanted, last, function, argument);
        grow(t, wanted);
        function(argument, -1);
        if (last) {
            current = NULL;
            end_team(t);
        } else {
            close_region(t);
            t->busy = false;
        }
    } else {
        function(argument, -1);
    }
    bbi_team_leave();
}
