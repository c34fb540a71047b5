/*
 * denials.hpp: notes of denials, kept in shared memory so that the caller's
 * rollback cannot take them back.
 *
 * One note for each denied window and kind. A backend counts in it, the worker
 * moves the count into skene.prompts. Invariant: a denial that is noted wakes the
 * worker, unless an earlier one already has.
 *
 * A rollback may also take the customer back. So a note whose customer the worker
 * cannot see waits for its commit, for a minute, and is then dropped and counted.
 */
#pragma once

#include "engine/resolution.hpp"

namespace skene
{

/* Shared memory that the notes need. */
Size denials_size();
void initialize_denials();

enum class DenialKind : uint8 { limit_reached, not_entitled, past_due };

/* Zero-filled before use: compared as bytes. */
struct DenialKey {
    Oid database;
    DenialKind kind;
    char period[max_period_bytes + 1];
    char feature[max_name_bytes + 1];
    char user_id[max_user_id_bytes + 1];
    TimestampTz window_start;
};

const char *denial_kind_name(DenialKind kind);

/* Note one denial; never raises. Without room the denial is lost and counted. */
void note_denial(const DenialKey &key, TimestampTz window_end, const char *plan, TimestampTz now);

/* What the worker takes out of a note. */
struct TakenDenials {
    DenialKey key;
    TimestampTz window_end;
    TimestampTz first_at;
    TimestampTz last_at;
    TimestampTz unknown_since;
    uint64 count;
    char plan[max_name_bytes + 1];
};

/*
 * Move up to capacity unwritten counts of a database into taken, and remove notes
 * of past windows; returns how many. Those that wait for their customer are left.
 * What is taken and not written is put back with return_denials.
 */
int take_denials(Oid database, TimestampTz now, TakenDenials *taken, int capacity);
void return_denials(const TakenDenials &taken);

/*
 * Put back what was taken while its customer is unknown, or its prompt locked; drop it a
 * minute after unknown_since.
 */
void put_off_denials(const TakenDenials &taken, TimestampTz now);

/* When the next note of a database that waits for its customer is due, DT_NOEND without. */
TimestampTz next_look_for_customers(Oid database);

/* How many notes a database has. */
int count_notes(Oid database);

/* Forget the notes of a database, or of one customer (null: all of them). */
void forget_denials(Oid database, const char *user_id);

} // namespace skene
