// SPDX-License-Identifier: Apache-2.0
// Preloaded into a system by Tests/Saga/crash.py: at the n-th write to the state process's database somebody is killed.
//
// The order stands in a file, $WEIR_DIE_ORDER, and is taken at the next write: "n b|a pid", before or after that write; pid 0 is
// the state process itself. SQLite writes a page and what stands before it one after the other: some of these writes tear a
// frame, and the last one of a commit makes it.
//
// Weir gives the state process no environment but what it needs: who begins it (`weir … state …`) puts this library back in.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static const char *order;
static long left;
static char point;
static int pid;

static char variables[2][4096];

__attribute__((constructor)) static void begin(void) {
  order = getenv("WEIR_DIE_ORDER");
  const char *library = getenv("LD_PRELOAD");
  snprintf(variables[0], sizeof variables[0], "WEIR_DIE_ORDER=%s", order ? order : "");
  snprintf(variables[1], sizeof variables[1], "LD_PRELOAD=%s", library ? library : "");
}

// Behind a fork: only what is safe there.
int execve(const char *path, char *const argv[], char *const envp[]) {
  static char *more[1024];
  if (!order || !argv[0] || !argv[1] || strcmp(argv[1], "state") != 0) return (int)syscall(SYS_execve, path, argv, envp);
  int n = 0;
  for (; envp[n] && n < 1020; n++) more[n] = envp[n];
  more[n] = variables[0];
  more[n + 1] = variables[1];
  more[n + 2] = NULL;
  return (int)syscall(SYS_execve, path, argv, more);
}

static int is_ours(int fd) {
  if (!order) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  const char *name = strrchr(path, '/');
  return name && (strcmp(name, "/state.sqlite") == 0 || strcmp(name, "/state.sqlite-wal") == 0);
}

static void take(void) {
  int file = open(order, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[64];
  ssize_t n = syscall(SYS_read, file, text, sizeof text - 1);
  close(file);
  unlink(order);
  if (n <= 0) return;
  text[n] = 0;
  if (sscanf(text, "%ld %c %d", &left, &point, &pid) != 3) left = 0;
}

static void end(void) {
  left = 0;
  kill(pid ? pid : getpid(), SIGKILL);
}

static ssize_t written(int fd, const void *bytes, size_t length, off64_t offset, int is_at) {
  int is_last = 0;
  if (is_ours(fd)) {
    take();
    is_last = left > 0 && --left == 0;
  }
  if (is_last && point == 'b') end();
  ssize_t n = is_at ? syscall(SYS_pwrite64, fd, bytes, length, offset) : syscall(SYS_write, fd, bytes, length);
  if (is_last && point == 'a') end();
  return n;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  return written(fd, bytes, length, offset, 1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return written(fd, bytes, length, offset, 1); }

ssize_t write(int fd, const void *bytes, size_t length) { return written(fd, bytes, length, 0, 0); }
