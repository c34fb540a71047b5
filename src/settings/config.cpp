/*
 * config.cpp: skene.parse_config(), the server's side of the configuration parser.
 */
#include "server/extension.hpp"
#include "server/text.hpp"

#include "core/config.hpp"

namespace skene
{

SKENE_FUNCTION(skene_parse_config)
{
    require_extension();
    text *document = PG_GETARG_TEXT_PP(0);
    auto *result = static_cast<ConfigResult *>(palloc0(sizeof(ConfigResult)));
    char *canonical;

    parse_config(view_of(document), result);
    canonical = take_string(&result->document);

    for (int i = 0; i < result->warning_count; i++) {
        const ConfigProblem &odd = result->warnings[i];
        ereport(WARNING, (errmsg("%s at line %d, column %d", odd.message, odd.line, odd.column),
                          odd.hint[0] ? errhint("%s", odd.hint) : 0));
    }
    if (!result->ok) {
        const ConfigProblem &wrong = result->problem;
        if (wrong.line > 0)
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("%s at line %d, column %d", wrong.message, wrong.line, wrong.column),
                     wrong.hint[0] ? errhint("%s", wrong.hint) : 0));
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", wrong.message),
                        wrong.hint[0] ? errhint("%s", wrong.hint) : 0));
    }
    PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(canonical)));
}

} // namespace skene
