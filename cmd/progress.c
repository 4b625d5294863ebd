/* The progress line of long runs, and Ctrl-C. Nothing is shown in the first moments, nor when stderr is no terminal. */
#include <signal.h>

#include "base.h"
#include "command.h"
#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#define STDERR_FILENO 2
#else
#include <unistd.h>
#endif

enum { FIRST_SHOWN_TENTHS = 10, LONG_RUN_SECONDS = 2 };

volatile int interrupted;

static void on_interrupt(int number) {
    interrupted = 1;
    signal(number, SIG_DFL);
}

void catch_interrupt(void) { signal(SIGINT, on_interrupt); }

double now(void) { return bbi_seconds(); }

void progress_begin(progress *state, const char *label) {
    *state = (progress){.start = now(), .terminal = isatty(STDERR_FILENO) == 1, .label = label};
}

/* After one second, if the whole will last for two or more, and then five times a second. */
int progress_report(void *data, double done) {
    progress *state = data;
    if (!state->terminal) return interrupted;
    double time = now(), spent = time - state->start;
    if (spent < FIRST_SHOWN_TENTHS * 0.1 || time - state->shown < 0.2 || done <= 0) return interrupted;
    double left = spent * (1 - done) / done;
    if (!state->visible && spent + left < LONG_RUN_SECONDS) return interrupted;
    int cells = (int)(done * 30 + 0.5);
    static const char full[] = "##############################", empty[] = "..............................";
    fprintf(stderr, "\r%s [%.*s%.*s] %3.0f%%  %.0f s, %.0f s to go \033[K", state->label, cells, full, 30 - cells,
            empty, done * 100, spent, left);
    fflush(stderr);
    state->shown = time;
    state->visible = true;
    return interrupted;
}

void progress_end(progress *state) {
    if (state->visible) fprintf(stderr, "\r\033[K");
    state->visible = false;
}
