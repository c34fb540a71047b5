/*
 * config_problem.hpp: what is wrong with a configuration document, or odd about it.
 */
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace skene
{

/* Both count from 1, in characters; 0 = the whole document. */
struct Position {
    int line = 0;
    int column = 0;
};

/* What is wrong, thrown; or what is odd, kept among the warnings. */
struct Problem {
    Position where;
    std::string message; /* lower-case start, no full stop */
    std::string hint;    /* whole sentences; may be empty */
};

struct Warnings {
    std::vector<Problem> kept; /* the first max_config_warnings */
    void add(Position where, std::string message, std::string hint);
};

/* Throw a Problem. */
[[noreturn]] void refuse(Position where, std::string message, std::string hint = {});

/* "line 3, column 14" */
std::string describe(Position where);

/* A name from the document in double quotes, cut to a length that suits a message. */
std::string in_quotes(std::string_view name);

} // namespace skene
