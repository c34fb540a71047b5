src/core/config_problem.o: src/core/config_problem.cpp \
 src/core/config_problem.hpp src/core/characters.hpp src/core/config.hpp \
 src/core/bytes.hpp
src/core/config_problem.hpp:
src/core/characters.hpp:
src/core/config.hpp:
src/core/bytes.hpp:
