src/core/config_text.o: src/core/config_text.cpp src/core/config_text.hpp \
 src/core/config_problem.hpp src/core/characters.hpp
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/characters.hpp:
