/*
 * constant.c: the floor under skene_check() and skene_decide(): a function that returns
 * a constant row of their type. Only for the bench, never installed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(constant_decision);

Datum
constant_decision(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Datum		values[13] = {0};
	bool		nulls[13] = {0};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE ||
		descriptor->natts != lengthof(values))
		elog(ERROR, "skene_decision has other columns now");

	values[0] = BoolGetDatum(true);
	values[1] = CStringGetTextDatum("ok");
	values[2] = CStringGetTextDatum("export");
	values[3] = Int64GetDatum(1);
	values[4] = Int64GetDatum(100);
	values[5] = Int64GetDatum(99);
	values[6] = TimestampTzGetDatum(0);
	nulls[7] = true;			/* retry_after */
	values[8] = CStringGetTextDatum("free");
	nulls[9] = nulls[10] = nulls[11] = true;	/* texts of a denial */
	values[12] = BoolGetDatum(false);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
