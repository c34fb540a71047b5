/*
 * config_document.hpp: a parsed configuration document becomes canonical rows.
 */
#pragma once

#include "core/config_feature.hpp"

namespace skene
{

/* Read a whole document, a single published loop or an array of them; throws Problem. */
Document read_document(const Node &root, Warnings *warnings);

/*
 * The rows as JSON: plans, features, entitlements, templates and settings, always
 * all five, each sorted by its key. Equal documents give equal bytes.
 */
std::string write_document(const Document &document);

} // namespace skene
