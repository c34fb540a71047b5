src/core/config_document.o: src/core/config_document.cpp \
 src/core/config_document.hpp src/core/config_feature.hpp \
 src/core/config_fields.hpp src/core/config_syntax.hpp \
 src/core/config_text.hpp src/core/config_problem.hpp \
 src/core/characters.hpp src/core/config_loop.hpp
src/core/config_document.hpp:
src/core/config_feature.hpp:
src/core/config_fields.hpp:
src/core/config_syntax.hpp:
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/characters.hpp:
src/core/config_loop.hpp:
