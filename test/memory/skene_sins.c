/*
 * skene_sins.c: commits, in the worker of skene_gate, the sins against memory that the
 * checks are there to find. Preloaded beside the extension by test/memory/check; no part
 * of it.
 *
 * The setting skene_sins.sin names the sin. It is committed at the end of each of the
 * worker's transactions, and the log says so before.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static char *sin = NULL;

/*
 * Volatile, or the compiler would spare us the sin. Not a power of two: such a chunk
 * has no padding, and the server leaves the header of a freed neighbour accessible.
 */
static volatile char *volatile memory;
static volatile int past = 24;

/* Write past the end of a palloc'ed chunk. */
static void
skene_sin_overrun(void)
{
	memory = palloc(past);
	memory[past] = 'x';
}

/* Read a palloc'ed chunk after its end. */
static void
skene_sin_use_after_free(void)
{
	memory = palloc(past);
	pfree((char *) memory);
	(void) memory[0];
}

/* Lose as much as a worker once did, in a context that lives as long as it. */
static void
skene_sin_leak(void)
{
	memory = MemoryContextAlloc(TopMemoryContext, 160);
	memory = NULL;
}

/* Lose malloc'ed memory, as the core and its libraries have. */
static void
skene_sin_malloc_leak(void)
{
	memory = malloc(past);
	memory[0] = 'x';
	memory = NULL;
}

/* Write past the end of malloc'ed memory. */
static void
skene_sin_malloc_overrun(void)
{
	memory = malloc(past);
	memory[past] = 'x';
}

/* Do what C does not define, though every machine does something. */
static void
skene_sin_undefined(void)
{
	past = past << (past + 8);
}

static const struct
{
	const char *name;
	void		(*commit) (void);
}			sins[] = {
	{"overrun", skene_sin_overrun},
	{"use_after_free", skene_sin_use_after_free},
	{"leak", skene_sin_leak},
	{"malloc_leak", skene_sin_malloc_leak},
	{"malloc_overrun", skene_sin_malloc_overrun},
	{"undefined", skene_sin_undefined},
};

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT || !MyBgworkerEntry ||
		strcmp(MyBgworkerEntry->bgw_type, "skene_gate worker") != 0)
		return;
	for (int i = 0; i < lengthof(sins); i++)
	{
		if (strcmp(sins[i].name, sin) == 0)
		{
			elog(LOG, "skene_sins commits %s", sin);
			sins[i].commit();
		}
	}
}

void
_PG_init(void)
{
	DefineCustomStringVariable("skene_sins.sin", "The sin to commit.", NULL, &sin, "",
							   PGC_POSTMASTER, 0, NULL, NULL, NULL);
	RegisterXactCallback(at_transaction_end, NULL);
}
