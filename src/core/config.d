src/core/config.o: src/core/config.cpp src/core/config.hpp \
 src/core/bytes.hpp src/core/characters.hpp src/core/config_document.hpp \
 src/core/config_feature.hpp src/core/config_fields.hpp \
 src/core/config_syntax.hpp src/core/config_text.hpp \
 src/core/config_problem.hpp
src/core/config.hpp:
src/core/bytes.hpp:
src/core/characters.hpp:
src/core/config_document.hpp:
src/core/config_feature.hpp:
src/core/config_fields.hpp:
src/core/config_syntax.hpp:
src/core/config_text.hpp:
src/core/config_problem.hpp:
