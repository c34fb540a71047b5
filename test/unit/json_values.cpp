// json_values.cpp: the one place of the tests where JSON is read and written.
#include "json_values.hpp"

#include <ostream>

nlohmann::json
skene::test::read_value(std::string_view text)
{
    return nlohmann::json::parse(text.begin(), text.end());
}

std::string
skene::test::write_value(const nlohmann::json &value)
{
    return value.dump();
}

void
nlohmann::PrintTo(const json &value, std::ostream *out)
{
    *out << skene::test::write_value(value);
}
