/*
 * config.cpp: the boundary of the configuration parser.
 *
 * Inside, problems travel as exceptions; here they end, all of them.
 */
#include "core/config.hpp"

#include "core/characters.hpp"
#include "core/config_document.hpp"

#include <cstring>
#include <exception>
#include <new>

namespace skene
{

namespace
{

/* Copy into a fixed field, cutting between characters where it does not fit. */
template <size_t size>
void
copy_text(char (&field)[size], std::string_view text)
{
    size_t length = text.size();
    if (length >= size) {
        length = size - 1;
        while (length > 0 && is_continuation(text[length]))
            length--;
    }
    std::memcpy(field, text.data(), length);
    field[length] = '\0';
}

void
copy_problem(const Problem &from, ConfigProblem *to)
{
    to->line = from.where.line;
    to->column = from.where.column;
    copy_text(to->message, from.message);
    copy_text(to->hint, from.hint);
}

} // namespace

void
parse_config(std::string_view text, ConfigResult *result) noexcept
{
    *result = ConfigResult{};
    try {
        Warnings warnings;
        Document document = read_document(parse_syntax(text, &warnings), &warnings);
        if (!copy_bytes(write_document(document), &result->document))
            throw std::bad_alloc();
        for (const Problem &warning : warnings.kept)
            copy_problem(warning, &result->warnings[result->warning_count++]);
        result->ok = true;
    } catch (const Problem &problem) {
        copy_problem(problem, &result->problem);
    } catch (const std::bad_alloc &) {
        copy_text(result->problem.message, "out of memory while reading the document");
    } catch (const std::exception &unexpected) {
        copy_text(result->problem.message, unexpected.what());
    } catch (...) {
        copy_text(result->problem.message, "the document could not be read");
    }
}

} // namespace skene
