src/gate/decision.o: src/gate/decision.cpp src/gate/decision.hpp \
 src/server/prelude.hpp
src/gate/decision.hpp:
src/server/prelude.hpp:
