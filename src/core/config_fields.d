src/core/config_fields.o: src/core/config_fields.cpp \
 src/core/config_fields.hpp src/core/config_syntax.hpp \
 src/core/config_text.hpp src/core/config_problem.hpp \
 src/core/characters.hpp src/core/suggest.hpp
src/core/config_fields.hpp:
src/core/config_syntax.hpp:
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/characters.hpp:
src/core/suggest.hpp:
