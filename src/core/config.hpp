/*
 * config.hpp: a configuration document, as text, becomes the rows it stands for.
 *
 * The text is JSON or the TypeScript that defineLoop()/defineConfig() files are
 * written in. The result is canonical JSON, sorted by key so that equal
 * documents give equal bytes; src/schema/apply.sql merges it into the tables. Its
 * plans_implied tells that the document named no plans and was given free and paid.
 */
#pragma once

#include "core/bytes.hpp"

namespace skene
{

/* Where and why a document was refused, or what was odd about it. */
struct ConfigProblem {
    int line = 0;   /* 1-based; 0 = concerns the whole document */
    int column = 0; /* 1-based, counted in characters, not bytes */
    char message[512] = {};
    char hint[512] = {}; /* how to mend it; empty when there is nothing to add */
};

constexpr int max_config_warnings = 16;

struct ConfigResult {
    bool ok = false;
    Bytes document;        /* canonical JSON when ok; release with free_bytes() */
    ConfigProblem problem; /* when not ok */
    int warning_count = 0; /* at most max_config_warnings are kept */
    ConfigProblem warnings[max_config_warnings];
};

/*
 * Parse and validate a document of at most 1 MiB (valid UTF-8, no NUL).
 *
 * Never throws; out of memory is reported as a problem. The caller owns
 * result->document.
 */
void parse_config(std::string_view text, ConfigResult *result) noexcept;

} // namespace skene
