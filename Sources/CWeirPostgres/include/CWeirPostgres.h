// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's own client library, found when it is first needed: a program without a PostgreSQL outbox runs on machines
// that have no libpq. Thin wrappers; decisions are made in Swift.
#ifndef C_WEIR_POSTGRES_H
#define C_WEIR_POSTGRES_H

// Not thread-safe for one connection; different threads may use different ones.
typedef struct weir_pg weir_pg;
typedef struct weir_pg_result weir_pg_result;

// 1 when libpq is there.
int weir_pg_is_there(void);
// A connection, good or bad; NULL only without libpq or memory. `target` is a connection string or URL.
weir_pg *_Nullable weir_pg_connect(const char *_Nonnull target);
int weir_pg_is_good(const weir_pg *_Nonnull connection);
// What went wrong last; lives as long as the connection, until its next use.
const char *_Nonnull weir_pg_error(const weir_pg *_Nonnull connection);
void weir_pg_close(weir_pg *_Nonnull connection);
int weir_pg_socket(const weir_pg *_Nonnull connection);

// Parameters and columns are texts. NULL only without memory.
weir_pg_result *_Nullable weir_pg_run(
    weir_pg *_Nonnull connection, const char *_Nonnull command, int count,
    const char *_Nullable const *_Nullable parameters);
int weir_pg_succeeded(const weir_pg_result *_Nonnull result);
// Five letters, or an empty text.
const char *_Nonnull weir_pg_state(const weir_pg_result *_Nonnull result);
int weir_pg_rows(const weir_pg_result *_Nonnull result);
// NULL for SQL's NULL.
const char *_Nullable weir_pg_value(const weir_pg_result *_Nonnull result, int row, int column);
void weir_pg_clear(weir_pg_result *_Nonnull result);

// Takes what the server has sent: 1 when it was a notification, 0 when not, -1 when the connection is lost.
int weir_pg_notified(weir_pg *_Nonnull connection);

#endif
