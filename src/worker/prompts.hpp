/*
 * prompts.hpp: notes of denials become rows of skene.prompts.
 */
#pragma once

namespace skene
{

/* Write all notes of this database, in transactions of their own. */
void write_prompts();

/* Keep skene_reset() out until the transaction ends: it would miss what is taken. */
void lock_prompts();

/* After an error: put back the notes that were taken and not written. */
void return_unwritten_prompts();

} // namespace skene
