// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's own client library, found when it is first needed: a program without a PostgreSQL outbox runs on machines
// that have no libpq. Thin wrappers; decisions are made in Swift.
#ifndef C_WEIR_POSTGRES_H
#define C_WEIR_POSTGRES_H

// Not thread-safe for one connection; different threads may use different ones.
typedef struct weir_pg weir_pg;
typedef struct weir_pg_result weir_pg_result;
typedef struct weir_pg_options weir_pg_options;

// 1 when libpq is there.
int weir_pg_is_there(void);
// What a connection string or URL says; NULL when it is none. Only where libpq is there, as all that follows.
weir_pg_options *_Nullable weir_pg_parse(const char *_Nonnull target);
// Passwords that stand in it, from 0 on; NULL behind the last.
const char *_Nullable weir_pg_secret(const weir_pg_options *_Nonnull options, int index);
void weir_pg_forget(weir_pg_options *_Nonnull options);

// A connection, good or bad; NULL only without memory. `target` is a connection string or URL. A server that does not answer
// is given up after 5 s, one that is gone later after 25 s, unless `target` says other times.
weir_pg *_Nullable weir_pg_connect(const char *_Nonnull target);
int weir_pg_is_good(const weir_pg *_Nonnull connection);
// What went wrong last; lives as long as the connection, until its next use.
const char *_Nonnull weir_pg_error(const weir_pg *_Nonnull connection);
void weir_pg_close(weir_pg *_Nonnull connection);
int weir_pg_socket(const weir_pg *_Nonnull connection);

// Begins a command; parameters and columns are texts. 0: it failed.
int weir_pg_send(
    weir_pg *_Nonnull connection, const char *_Nonnull command, int count,
    const char *_Nullable const *_Nullable parameters);
// Writes what is still to be sent: 0 when all is, 1 when the socket takes no more now, -1 when the connection is lost.
int weir_pg_flush(weir_pg *_Nonnull connection);
// Takes what the server has sent: 1 when `weir_pg_next` would not wait, 0 when it would, -1 when the connection is lost.
int weir_pg_take(weir_pg *_Nonnull connection);
// A result of the command; NULL behind the last.
weir_pg_result *_Nullable weir_pg_next(weir_pg *_Nonnull connection);
int weir_pg_succeeded(const weir_pg_result *_Nonnull result);
// Five letters, or an empty text.
const char *_Nonnull weir_pg_state(const weir_pg_result *_Nonnull result);
int weir_pg_rows(const weir_pg_result *_Nonnull result);
int weir_pg_columns(const weir_pg_result *_Nonnull result);
// NULL for SQL's NULL.
const char *_Nullable weir_pg_value(const weir_pg_result *_Nonnull result, int row, int column);
void weir_pg_clear(weir_pg_result *_Nonnull result);

// Takes what the server has sent: 1 when it was a notification, 0 when not, -1 when the connection is lost.
int weir_pg_notified(weir_pg *_Nonnull connection);

#endif
