// SPDX-License-Identifier: Apache-2.0
// Preloaded into the state process by script/crash: writes down every write and every sync of its database, so that what a
// power cut would have left of it can be worked out.
//
//   record = kind (1: 'w' write, 't' truncate, 's' sync) · file (1: 'd' database, 'l' log) · offset (8) · length (8) · bytes
//
// A write is written down before it is done, a sync after it: what is said to be on the disk is there. Numbers are in the
// machine's own order of bytes.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int journal = -1;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WEIR_DISK_JOURNAL");
  if (path) journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

// Which of the two files it is, or 0.
static char which(int fd) {
  if (journal < 0 || fd == journal) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  const char *name = strrchr(path, '/');
  if (!name) return 0;
  if (strcmp(name, "/state.sqlite") == 0) return 'd';
  if (strcmp(name, "/state.sqlite-wal") == 0) return 'l';
  return 0;
}

static void record(char kind, char file, long long offset, const void *bytes, long long length) {
  char head[18];
  head[0] = kind;
  head[1] = file;
  memcpy(head + 2, &offset, 8);
  memcpy(head + 10, &length, 8);
  struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, bytes ? (size_t)length : 0}};
  // One call: a record is whole, or the process was killed in it and it is the last.
  if (syscall(SYS_writev, journal, parts, bytes ? 2 : 1) < 0) abort();
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  char file = which(fd);
  if (file) record('w', file, offset, bytes, (long long)length);
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t write(int fd, const void *bytes, size_t length) {
  char file = which(fd);
  if (file) record('w', file, lseek(fd, 0, SEEK_CUR), bytes, (long long)length);
  return syscall(SYS_write, fd, bytes, length);
}

int ftruncate64(int fd, off64_t length) {
  char file = which(fd);
  if (file) record('t', file, length, NULL, 0);
  return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int result) {
  char file = result == 0 ? which(fd) : 0;
  if (file) record('s', file, 0, NULL, 0);
  return result;
}

int fsync(int fd) { return synced(fd, (int)syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { return synced(fd, (int)syscall(SYS_fdatasync, fd)); }
