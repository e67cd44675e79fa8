// SPDX-License-Identifier: Apache-2.0
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "CWeirPlatform.h"

#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#ifndef NSIG
#define NSIG 65
#endif

// Descriptors ------------------------------------------------------------------------------------------------------

int weir_open(const char *path, int flags, int mode) {
  int descriptor;
  do {
    descriptor = open(path, flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

// One part after another, no links at all.
static int open_parts(int folder, const char *path) {
  int here = folder;
  while (1) {
    const char *slash = strchr(path, '/');
    size_t length = slash == NULL ? strlen(path) : (size_t)(slash - path);
    char part[256];
    int found = -1;
    if (length >= sizeof part) {
      errno = ENAMETOOLONG;
    } else {
      memcpy(part, path, length);
      part[length] = 0;
      int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | (slash == NULL ? 0 : O_DIRECTORY);
      if (strcmp(part, "..") == 0) errno = EXDEV;
      else found = openat(here, length == 0 ? "." : part, flags);
    }
    int error = errno;
    if (here != folder) close(here);
    errno = error;
    if (found < 0 || slash == NULL) return found;
    here = found;
    path = slash + 1;
  }
}

int weir_open_beneath(int folder, const char *path) {
#if defined(__linux__) && defined(SYS_openat2)
  struct open_how how = {0};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a folder on the way was moved meanwhile.
  for (int tries = 0; tries < 4; tries++) {
    int found = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (found >= 0 || (errno != EINTR && errno != EAGAIN && errno != ENOSYS && errno != EPERM)) return found;
    if (errno == ENOSYS || errno == EPERM) break;
  }
#endif
  return open_parts(folder, path);
}

int weir_set_close_on_exec(int descriptor, int on) {
  int flags = fcntl(descriptor, F_GETFD);
  if (flags < 0) return -1;
  return fcntl(descriptor, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC);
}

int weir_set_nonblocking(int descriptor, int on) {
  int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0) return -1;
  return fcntl(descriptor, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int weir_duplicate(int descriptor, int at_least) { return fcntl(descriptor, F_DUPFD_CLOEXEC, at_least); }

int weir_terminal_columns(int descriptor) {
  struct winsize size;
  if (ioctl(descriptor, TIOCGWINSZ, &size) < 0) return 0;
  return size.ws_col;
}

// Sockets ----------------------------------------------------------------------------------------------------------

// Darwin has no such flag; there the socket's owner sets SO_NOSIGPIPE.
#ifdef MSG_NOSIGNAL
#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

ssize_t weir_send(int socket, const void *bytes, size_t count) {
  ssize_t sent;
  do {
    sent = send(socket, bytes, count, SEND_FLAGS);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t weir_send_two(int socket, const void *first, size_t first_count, const void *second, size_t second_count) {
  struct iovec runs[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message = {.msg_iov = runs, .msg_iovlen = 2};
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, SEND_FLAGS);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

#ifdef __linux__
int weir_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
int weir_socket_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends); }
#else
// Not atomic with the creation: a fork on another thread in between leaks the ends. The keeper has one thread.
static int closed_on_exec(int result, int ends[2]) {
  if (result < 0) return -1;
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  return 0;
}
int weir_pipe(int ends[2]) { return closed_on_exec(pipe(ends), ends); }
int weir_socket_pair(int ends[2]) { return closed_on_exec(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), ends); }
#endif

// Signals ----------------------------------------------------------------------------------------------------------

// Read by a signal handler, so it must be lock-free; -1 until the pipe exists.
static _Atomic int signal_write_end = -1;
static int signal_read_end = -1;
static pthread_mutex_t signal_mutex = PTHREAD_MUTEX_INITIALIZER;

static void tell_signal(int number) {
  int saved = errno;
  unsigned char byte = (unsigned char)number;
  // A full pipe already holds 64 KiB of unread signals: dropping one more loses nothing that its reader could notice.
  ssize_t ignored = write(atomic_load(&signal_write_end), &byte, 1);
  (void)ignored;
  errno = saved;
}

int weir_signals_open(const int *signals, int count) {
  pthread_mutex_lock(&signal_mutex);
  int result = signal_read_end;
  if (result < 0) {
    int ends[2];
    if (weir_pipe(ends) < 0) goto done;
    weir_set_nonblocking(ends[0], 1);
    weir_set_nonblocking(ends[1], 1);
    signal_read_end = ends[0];
    atomic_store(&signal_write_end, ends[1]);
    result = ends[0];
  }
  for (int i = 0; i < count; i++) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tell_signal;
    sigfillset(&action.sa_mask);
    action.sa_flags = SA_RESTART | (signals[i] == SIGCHLD ? SA_NOCLDSTOP : 0);
    if (sigaction(signals[i], &action, NULL) < 0) {
      result = -1;
      break;
    }
    // Whoever started us may have had it blocked, and a mask is inherited: we would never hear of it.
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &watched, NULL);
  }
done:
  pthread_mutex_unlock(&signal_mutex);
  return result;
}

int weir_signals_block(const int *signals, int count, int on) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
  return pthread_sigmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL) == 0 ? 0 : -1;
}

int weir_signal_ignore(int number) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_IGN;
  return sigaction(number, &action, NULL);
}

// Children ---------------------------------------------------------------------------------------------------------

int weir_become_subreaper(void) {
#ifdef __linux__
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
#else
  errno = ENOSYS;
  return -1;
#endif
}

pid_t weir_reap(pid_t pid, int block, int *code, int *number, int *core_dumped) {
  int status = 0;
  pid_t ended;
  do {
    ended = waitpid(pid, &status, block ? 0 : WNOHANG);
  } while (ended < 0 && errno == EINTR);
  if (ended > 0) {
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    *number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    *core_dumped = WIFSIGNALED(status) ? WCOREDUMP(status) != 0 : 0;
  }
  return ended;
}

// Runs in the child: only async-signal-safe calls from here on, for the parent may have had other threads.
static void report_and_leave(int pipe_end, int step) {
  int report[2] = {step, errno};
  ssize_t ignored = write(pipe_end, report, sizeof report);
  (void)ignored;
  _exit(127);
}

static void close_rest_on_exec(void) {
#if defined(__linux__) && defined(SYS_close_range)
  // CLOSE_RANGE_CLOEXEC is 4; kernels before 5.11 answer EINVAL or ENOSYS.
  if (syscall(SYS_close_range, 3u, ~0u, 4u) == 0) return;
#endif
  long limit = sysconf(_SC_OPEN_MAX);
  // 65 536 is far above what the keeper opens: a socket per listener and loop, two pipes an instance.
  if (limit < 0 || limit > 65536) limit = 65536;
  for (int descriptor = 3; descriptor < limit; descriptor++) fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

static void become(const struct weir_spawn *what, pid_t parent, int report_end) {
  if (what->own_group && setpgid(0, 0) < 0) report_and_leave(report_end, WEIR_SPAWN_GROUP);
#ifdef __linux__
  if (what->death_signal != 0) {
    prctl(PR_SET_PDEATHSIG, what->death_signal, 0, 0, 0);
    // The parent may have died before prctl took effect: then nobody would ever send it.
    if (getppid() != parent) _exit(127);
  }
#else
  (void)parent;
#endif
  if (what->directory != NULL && chdir(what->directory) < 0) report_and_leave(report_end, WEIR_SPAWN_DIRECTORY);
  if (what->open_files != 0) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && what->open_files <= (uint64_t)limit.rlim_max) {
      limit.rlim_cur = (rlim_t)what->open_files;
      setrlimit(RLIMIT_NOFILE, &limit);
    }
  }

  // Sources may be numbers that are targets of others: first all of them go above every target, then into place.
  int above = report_end + 1;
  for (int i = 0; i < what->descriptor_count; i++) {
    if (what->targets[i] >= above) above = what->targets[i] + 1;
    if (what->sources[i] >= above) above = what->sources[i] + 1;
  }
  int report = fcntl(report_end, F_DUPFD_CLOEXEC, above);
  if (report < 0) report_and_leave(report_end, WEIR_SPAWN_DESCRIPTORS);
  int moved[what->descriptor_count > 0 ? what->descriptor_count : 1];
  for (int i = 0; i < what->descriptor_count; i++) {
    moved[i] = fcntl(what->sources[i], F_DUPFD_CLOEXEC, above);
    if (moved[i] < 0) report_and_leave(report, WEIR_SPAWN_DESCRIPTORS);
  }
  close_rest_on_exec();
  for (int i = 0; i < what->descriptor_count; i++)
    if (dup2(moved[i], what->targets[i]) < 0) report_and_leave(report, WEIR_SPAWN_DESCRIPTORS);

  for (int number = 1; number < NSIG; number++) {
    if (number == SIGKILL || number == SIGSTOP) continue;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execve(what->path, what->argv, what->envp);
  report_and_leave(report, WEIR_SPAWN_EXEC);
}

pid_t weir_spawn(const struct weir_spawn *what, int *failed_step) {
  *failed_step = WEIR_SPAWN_FORK;
  int report[2];
  if (weir_pipe(report) < 0) return -1;
  pid_t parent = getpid();
  // No handler of ours may run in the child: it would write into the signal pipe it still shares with us.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t child = fork();
  if (child == 0) {
    close(report[0]);
    become(what, parent, report[1]);
    _exit(127);
  }
  int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(report[1]);
  if (child < 0) {
    close(report[0]);
    errno = fork_error;
    return -1;
  }
  int told[2];
  ssize_t count;
  do {
    count = read(report[0], told, sizeof told);
  } while (count < 0 && errno == EINTR);
  close(report[0]);
  if (count == (ssize_t)sizeof told) {
    int ignored;
    do {
    } while (waitpid(child, &ignored, 0) < 0 && errno == EINTR);
    *failed_step = told[0];
    errno = told[1];
    return -1;
  }
  return child;
}

int weir_become(const char *path, char *const *argv, char *const *envp) { return execve(path, argv, envp); }

// Memory -----------------------------------------------------------------------------------------------------------

int64_t weir_heap_bytes(void) {
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 33)
  // Over all arenas; what a thread keeps for itself (tcache) counts as in use.
  struct mallinfo2 facts = mallinfo2();
  return (int64_t)facts.uordblks + (int64_t)facts.hblkhd;
#endif
#endif
  return -1;
}

void weir_heap_trim(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// Descriptor passing -----------------------------------------------------------------------------------------------

// The kernel's own limit is 253 (SCM_MAX_FD).
#define WEIR_DESCRIPTORS_MAX 253

ssize_t weir_send_descriptors(int socket, const void *bytes, size_t count, const int *descriptors, int descriptor_count) {
  if (descriptor_count < 0 || descriptor_count > WEIR_DESCRIPTORS_MAX) {
    errno = EINVAL;
    return -1;
  }
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  union {
    char bytes[CMSG_SPACE(sizeof(int) * WEIR_DESCRIPTORS_MAX)];
    struct cmsghdr aligned;
  } control;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor_count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)descriptor_count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)descriptor_count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)descriptor_count);
  }
#ifdef MSG_NOSIGNAL
  int flags = MSG_NOSIGNAL;
#else
  int flags = 0;
#endif
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, flags);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t weir_receive_descriptors(int socket, void *bytes, size_t count, int *descriptors, int capacity, int *received) {
  *received = 0;
  struct iovec part = {.iov_base = bytes, .iov_len = count};
  union {
    char bytes[CMSG_SPACE(sizeof(int) * WEIR_DESCRIPTORS_MAX)];
    struct cmsghdr aligned;
  } control;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
#ifdef MSG_CMSG_CLOEXEC
  int flags = MSG_CMSG_CLOEXEC;
#else
  int flags = 0;
#endif
  ssize_t taken;
  do {
    taken = recvmsg(socket, &message, flags);
  } while (taken < 0 && errno == EINTR);
  if (taken < 0) return -1;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t size = header->cmsg_len - CMSG_LEN(0);
    for (size_t offset = 0; offset + sizeof(int) <= size; offset += sizeof(int)) {
      int descriptor;
      memcpy(&descriptor, CMSG_DATA(header) + offset, sizeof descriptor);
      if (*received < capacity) {
        fcntl(descriptor, F_SETFD, FD_CLOEXEC);
        descriptors[(*received)++] = descriptor;
      } else {
        close(descriptor);
      }
    }
  }
  return taken;
}
