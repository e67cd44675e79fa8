// SPDX-License-Identifier: Apache-2.0
// What Swift cannot do by itself: steps between fork and exec, signal handlers, descriptor passing, C macros and
// variadic functions. Everything here is a thin wrapper; decisions are made in Swift.
#ifndef C_WEIR_PLATFORM_H
#define C_WEIR_PLATFORM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The steps a child goes through before its program runs, in order; the one that failed is reported to the parent.
enum weir_spawn_step {
  WEIR_SPAWN_FORK = 1,
  WEIR_SPAWN_GROUP = 2,
  WEIR_SPAWN_DIRECTORY = 3,
  WEIR_SPAWN_DESCRIPTORS = 4,
  WEIR_SPAWN_EXEC = 5,
};

struct weir_spawn {
  const char *path;
  char *const *argv;
  char *const *envp;
  // NULL: the parent's.
  const char *directory;
  // sources[i] of the parent becomes targets[i] of the child; everything else above 2 is closed at exec.
  const int *sources;
  const int *targets;
  int descriptor_count;
  // Sent to the child when the thread that spawned it ends; 0 for none. Linux only.
  int death_signal;
  // The child leads a process group of its own.
  int own_group;
  // The soft limit of open files the child gets; 0 leaves the parent's.
  uint64_t open_files;
};

// The child's process id, or -1 with errno and the failed step.
pid_t weir_spawn(const struct weir_spawn *what, int *failed_step);

// Makes signals readable: each one arrives as a byte (its number) on the returned descriptor. One per process; a second
// call adds signals to the same descriptor. -1 with errno.
int weir_signals_open(const int *signals, int count);
// Holds signals back, or lets them through again. A blocked signal waits, also across an exec.
int weir_signals_block(const int *signals, int count, int on);
// Bytes of this process's heap that are in use, its large blocks included; -1 where the C library does not count them.
int64_t weir_heap_bytes(void);
// Gives unused pages of the heap back to the system.
void weir_heap_trim(void);
// Replaces this process's program; returns, -1 with errno, only when that failed. What is not close-on-exec stays open.
int weir_become(const char *path, char *const *argv, char *const *envp);
// Ignores a signal; spawned children get the default again.
int weir_signal_ignore(int signal);

// This process adopts the orphans among its descendants. -1 with errno where the system cannot.
int weir_become_subreaper(void);

// Reaps one child that has ended: its pid, 0 when none has, -1 with errno (ECHILD: there are no children at all).
// `code` is the exit code, or -1 when it was ended by `signal`.
pid_t weir_reap(pid_t pid, int block, int *code, int *signal, int *core_dumped);

// Sends or takes bytes together with descriptors over a UNIX socket; -1 with errno. A received descriptor is close-on-exec.
ssize_t weir_send_descriptors(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count);
ssize_t weir_receive_descriptors(int socket, void *bytes, size_t count, int *descriptors, int capacity, int *received);

// Gives a socket what it takes at once of one or two runs of bytes, in their order: the count, or -1 with errno. Never
// waits, and a closed peer is an error instead of a signal.
ssize_t weir_send(int socket, const void *bytes, size_t count);
ssize_t weir_send_two(int socket, const void *first, size_t first_count, const void *second, size_t second_count);

// Variadic in C.
int weir_open(const char *path, int flags, int mode);
// Opens a file or folder for reading that lies below `folder`, whatever links and dots the path has: what leads out of it
// is an error (EXDEV, or ELOOP where the system cannot tell and any link is refused). Never waits for a writer.
int weir_open_beneath(int folder, const char *path);
int weir_set_close_on_exec(int descriptor, int on);
int weir_set_nonblocking(int descriptor, int on);
int weir_duplicate(int descriptor, int at_least);
// Columns of the terminal behind the descriptor, 0 when it is none or will not say.
int weir_terminal_columns(int descriptor);

// pipe and socketpair with close-on-exec on both ends.
int weir_pipe(int ends[2]);
int weir_socket_pair(int ends[2]);

#endif
