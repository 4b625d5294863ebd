/* Helpers of a run: each region is done by the caller and by those helpers that come in time, and nobody is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/run/team.h"
#include "in_child.h"

#include <stdatomic.h>

enum { MOST = 3 };

typedef struct share {
    _Atomic int times[MOST + 1]; /* by the caller first */
    _Atomic int inside;
    int depth; /* regions that the caller opens within this one */
} share;

static void work(void *argument, int64_t helper) {
    share *s = argument;
    atomic_fetch_add(&s->inside, 1);
    atomic_fetch_add(&s->times[helper + 1], 1);
    if (helper < 0 && s->depth > 0) {
        share inner = {.depth = s->depth - 1};
        bbi_team_work(MOST, true, work, &inner);
        assert_int_equal(inner.times[0], 1);
        assert_int_equal(inner.inside, 0);
    }
    for (int volatile k = 0; k < 200; k++) continue;
    atomic_fetch_sub(&s->inside, 1);
}

static void region(int64_t wanted, bool last, int depth) {
    share s = {.depth = depth};
    bbi_team_work(wanted, last, work, &s);
    assert_int_equal(s.inside, 0);
    assert_int_equal(s.times[0], 1);
    for (int k = 0; k < MOST; k++) assert_true(s.times[k + 1] <= (k < wanted));
}

static void regions_end_with_all_that_came(void **state) {
    (void)state;
    for (int round = 0; round < 200; round++) {
        bbi_team_enter();
        for (int k = 0; k < 10; k++) region((round + k) % (MOST + 1), k == 9, 0);
        bbi_team_leave();
    }
}

/* A region that was said to be the last may not be. */
static void work_may_follow_the_last(void **state) {
    (void)state;
    bbi_team_enter();
    for (int k = 0; k < 50; k++) region(MOST, true, 0);
    bbi_team_leave();
    region(MOST, false, 0); /* nobody entered */
}

static void regions_within_regions_are_the_callers(void **state) {
    (void)state;
    bbi_team_enter();
    for (int k = 0; k < 20; k++) region(MOST, k % 2, 2);
    bbi_team_leave();
}

/* As the last of some runs is called: its own leave ends the helpers, and nothing is left to the outer one. */
static void the_last_call_may_end_the_team(void **state) {
    (void)state;
    for (int k = 0; k < 20; k++) {
        bbi_team_enter();
        region(MOST, false, 0);
        bbi_team_pass();
        bbi_team_enter();
        region(MOST, false, 0);
        region(MOST, true, 0);
        bbi_team_leave();
        bbi_team_enter();
        bbi_team_leave();
    }
}

static int child_has_its_own(void) {
    for (int k = 0; k < 5; k++) region(MOST, false, 0);
    bbi_team_leave();
    region(MOST, true, 0);
    return 0;
}

/* Helpers of the parent are no threads of the child. */
static void a_forked_child_starts_its_own(void **state) {
    (void)state;
#if defined __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer allows no threads in a forked child */
#endif
    bbi_team_enter();
    region(MOST, false, 0);
    assert_int_equal(in_child(child_has_its_own), 0);
    region(MOST, false, 0);
    bbi_team_leave();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(regions_end_with_all_that_came),
                                       cmocka_unit_test(work_may_follow_the_last),
                                       cmocka_unit_test(regions_within_regions_are_the_callers),
                                       cmocka_unit_test(the_last_call_may_end_the_team),
                                       cmocka_unit_test(a_forked_child_starts_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
