/*
 * levels.hpp: committed usage that comes to a level, the limit or a part of it, becomes a
 * prompt before anybody is denied, where the configuration says so.
 */
#pragma once

namespace skene
{

/* Does any feature want to know? Without, a fold has nothing to look for. */
bool levels_are_wanted();

/*
 * The end of a fold's statement, whose CTEs are counted (what was added) and folded (the
 * totals now): the levels that these totals reach, whose prompts are not there.
 */
extern const char *const reached_levels_sql;

/* Write the prompts of the levels that the last statement returned. */
void write_levels();

} // namespace skene
