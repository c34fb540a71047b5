/*
 * opening.hpp: from a request to the counters it concerns.
 */
#pragma once

#include "engine/meters.hpp"
#include "gate/arguments.hpp"

namespace skene
{

/* A request with its meter open. */
struct Call {
    Request request;
    MeterKey key;
    TimestampTz now;
    TimestampTz anchor; /* of a customer without a row; DT_NOEND: it has one */
    int mark;           /* what is held from there on is this call's */
    OpenMeter open;
    bool looked;            /* it is open since a look, ... */
    uint64 generation;      /* ... when the rows were these */
    bool alone;             /* nothing is held: nobody else counts, and units are the rows' */
    int64 units[max_rules]; /* used in each window, when alone */
};

/* Prepare a call; nothing is open yet. */
void begin_call(Call *call, const Request &request);

/*
 * Open the meter for counting: from shared memory, else from the tables. What the call
 * held before is let go, unless a look opened it just now. Locks skene.usage_events
 * against changes by hand; where this transaction has made some, against everybody else
 * who counts, and counts alone.
 */
void open_for_counting(Call *call);

/* Units of one rule's window that this transaction sees used. */
int64 used_in(const Call &call, int rule);

/*
 * Units used in each window if shared memory knows them: no lock, no SQL. The meter stays
 * open then.
 */
bool look_in_memory(Call *call, int64 *used);

/*
 * Units used in each window, as this transaction sees them, without counting or
 * holding anything afterwards; waits for nobody. On a standby, and where this
 * transaction changed what decides, from the tables under its own snapshot.
 */
void look_at_windows(Call *call, int64 *used);

} // namespace skene
