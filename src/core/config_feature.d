src/core/config_feature.o: src/core/config_feature.cpp \
 src/core/config_feature.hpp src/core/config_fields.hpp \
 src/core/config_syntax.hpp src/core/config_text.hpp \
 src/core/config_problem.hpp src/core/endpoint.hpp src/core/window.hpp
src/core/config_feature.hpp:
src/core/config_fields.hpp:
src/core/config_syntax.hpp:
src/core/config_text.hpp:
src/core/config_problem.hpp:
src/core/endpoint.hpp:
src/core/window.hpp:
