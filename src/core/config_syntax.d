src/core/config_syntax.o: src/core/config_syntax.cpp \
 src/core/config_syntax.hpp src/core/config_text.hpp \
 src/core/config_problem.hpp src/core/suggest.hpp
src/core/config_syntax.hpp:
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/suggest.hpp:
