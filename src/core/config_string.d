src/core/config_string.o: src/core/config_string.cpp \
 src/core/config_text.hpp src/core/config_problem.hpp \
 src/core/characters.hpp
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/characters.hpp:
