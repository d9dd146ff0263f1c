/* Lets calls that write files fail as told, and logs them; preloaded by test_trainer_write_failures.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
  bool is_on;
  char call[16];
  int error, earlier;
  char log[1 << 16];
} state;

/* From now on one call with this name fails with `error`, after `earlier` others that succeed. "": none fails. */
void watch_files(const char *call, int error, int earlier) {
  state.is_on = true;
  snprintf(state.call, sizeof state.call, "%s", call);
  state.error = error;
  state.earlier = earlier;
  state.log[0] = 0;
}

/* Ends it, and gives the names of the calls that were made. */
const char *watched_files(void) {
  state.is_on = false;
  return state.log;
}

static bool fails(const char *call) {
  if (!state.is_on) return false;
  if (strlen(state.log) + strlen(call) + 2 < sizeof state.log) strcat(strcat(state.log, call), " ");
  if (strcmp(state.call, call) != 0 || state.earlier-- != 0) return false;
  errno = state.error;
  return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
  return fails("pwrite") ? -1 : REAL(pwrite)(file, bytes, count, offset);
}

int fsync(int file) { return fails("fsync") ? -1 : REAL(fsync)(file); }

int fchmod(int file, mode_t mode) { return fails("fchmod") ? -1 : REAL(fchmod)(file, mode); }

int renameat(int folder, const char *name, int other_folder, const char *other) {
  return fails("renameat") ? -1 : REAL(renameat)(folder, name, other_folder, other);
}

int close(int file) {
  const bool has_failed = fails("close");
  const int error = errno, result = REAL(close)(file);
  if (has_failed) errno = error;
  return has_failed ? -1 : result;
}

int openat(int folder, const char *name, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return (flags & O_CREAT) != 0 && fails("create") ? -1 : REAL(openat)(folder, name, flags, mode);
}
